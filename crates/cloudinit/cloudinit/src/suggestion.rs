//! "Did you mean" suggestions: the closest known key to a mistyped one.

use crate::limits::MAX_SUGGESTION_DISTANCE;

/// Returns the closest candidate within the maximum edit distance.
pub fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    known
        .filter(|candidate| candidate.len().abs_diff(length) <= MAX_SUGGESTION_DISTANCE)
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate))
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
        let known = ["content", "drop_ins", "command", "enable", "name"];
        for (word, expect) in [
            ("contents", Some("content")),
            ("dropins", Some("drop_ins")),
            ("drop_in", Some("drop_ins")),
            ("commands", Some("command")),
            ("enabled", Some("enable")),
            ("nmae", Some("name")),
            ("environment", None),
            ("x", None),
        ] {
            assert_eq!(closest(word, known.into_iter()), expect, "{word}");
        }
    }
}
