//! Ranges of partition numbers.

use std::str::FromStr;

/// Numbers of partitions: `3`, `3-5`, `3-` or `-5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberRange {
    first: u32,
    last: u32,
}

impl NumberRange {
    pub fn contains(self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

impl FromStr for NumberRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is no range of partition numbers: N, N-M, N- or -M, from 1");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str, default| match text {
            "" => Some(default),
            text => text.parse().ok().filter(|number| *number > 0),
        };
        let range = number(first, 1).zip(number(last, u32::MAX)).filter(|(first, last)| first <= last);
        let is_open = first.is_empty() && last.is_empty();
        range.filter(|_| !is_open).map(|(first, last)| Self { first, last }).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_parsed() {
        let check = |text: &str, inside: u32, outside: u32| {
            let range: NumberRange = text.parse().unwrap();
            assert!(range.contains(inside) && !range.contains(outside), "{text}");
        };
        check("3", 3, 4);
        check("3-5", 5, 6);
        check("3-", u32::MAX, 2);
        check("-5", 1, 6);
        for text in ["", "-", "0", "0-3", "3-2", "x", "1-2-3", "--2"] {
            assert!(text.parse::<NumberRange>().is_err(), "{text}");
        }
    }
}
