//! Suggestions for mistyped names: "did you mean".

/// Maximum edit distance: wrong, missing, additional or swapped letters.
const DISTANCE_MAX: usize = 2;

/// The closest of `known` within the maximum distance. Dashes and underscores are equal.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.replace('_', "-").to_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        // At most a third of a short name may differ.
        .filter(|(distance, candidate)| *distance <= DISTANCE_MAX.min(candidate.len().div_ceil(3)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["get", "set", "mkdir", "list-machines", "list-units", "ls"];
        for (word, expect) in [
            ("gett", Some("get")),
            ("gte", Some("get")),
            ("list_machines", Some("list-machines")),
            ("list-unit", Some("list-units")),
            ("Mkdri", Some("mkdir")),
            ("bogus", None),
            ("put", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expect, "{word}");
        }
    }
}
