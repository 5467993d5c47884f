//! "Did you mean": the known word that is nearest to a mistyped one.

/// Letters that may be wrong, left out, too many or exchanged.
const SLIPS: usize = 2;

/// The nearest of `known`, if it is near enough to be a slip of the fingers. A dash and an underscore are alike.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.replace('_', "-").to_lowercase();
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        // Of short words not more than a third may be wrong.
        .filter(|(distance, candidate)| *distance <= SLIPS.min(candidate.len().div_ceil(3)))
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
