//! "Did you mean" suggestions: the closest known key to a mistyped one.

use crate::limits::MAX_SUGGESTION_DISTANCE;

/// Returns the closest candidate within the maximum edit distance.
pub fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    candidates
        .filter(|candidate| candidate.len().abs_diff(length) <= MAX_SUGGESTION_DISTANCE)
        .map(|candidate| (strsim::levenshtein(text, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= MAX_SUGGESTION_DISTANCE && *distance < candidate.len().min(length)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_recognized() {
        let candidates = ["content", "drop_ins", "command", "enable", "name"];
        for (text, expect) in [
            ("contents", Some("content")),
            ("dropins", Some("drop_ins")),
            ("drop_in", Some("drop_ins")),
            ("commands", Some("command")),
            ("enabled", Some("enable")),
            ("nmae", Some("name")),
            ("environment", None),
            ("x", None),
        ] {
            assert_eq!(closest(text, candidates.into_iter()), expect, "{text}");
        }
    }
}
