//! Order of Debian versions (Debian policy 5.6.12, deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions, `[EPOCH:]UPSTREAM[-REVISION]`. Any text has an order, as in apt and dpkg.
#[must_use]
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (Parts::of(one), Parts::of(other));
    compare_part(one.epoch, other.epoch)
        .then_with(|| compare_part(one.upstream, other.upstream))
        .then_with(|| compare_part(one.revision, other.revision))
}

struct Parts<'a> {
    epoch: &'a [u8],
    upstream: &'a [u8],
    revision: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch: epoch.as_bytes(), upstream: upstream.as_bytes(), revision: revision.as_bytes() }
    }
}

/// Alternates between a prefix without digits and a number. A missing part equals `0`.
fn compare_part(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while !(one.is_empty() && other.is_empty()) {
        let order = compare_text(
            split(&mut one, |byte| !byte.is_ascii_digit()),
            split(&mut other, |byte| !byte.is_ascii_digit()),
        )
        .then_with(|| {
            compare_number(split(&mut one, u8::is_ascii_digit), split(&mut other, u8::is_ascii_digit))
        });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Removes the prefix of accepted bytes.
fn split<'a>(text: &mut &'a [u8], is_accepted: impl Fn(&u8) -> bool) -> &'a [u8] {
    let length = text.iter().take_while(|byte| is_accepted(byte)).count();
    let (prefix, rest) = text.split_at(length);
    *text = rest;
    prefix
}

/// `~` precedes the end, the end precedes letters, and letters precede everything else.
fn compare_text(one: &[u8], other: &[u8]) -> Ordering {
    fn weight(byte: Option<&u8>) -> (u8, u8) {
        match byte {
            Some(b'~') => (0, 0),
            None => (1, 0),
            Some(byte) if byte.is_ascii_alphabetic() => (2, *byte),
            Some(byte) => (3, *byte),
        }
    }
    let weights = |index| (weight(one.get(index)), weight(other.get(index)));
    (0..one.len().max(other.len()))
        .map(weights)
        .map(|(one, other)| one.cmp(&other))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length.
fn compare_number(one: &[u8], other: &[u8]) -> Ordering {
    let significant =
        |digits: &'_ [u8]| digits.iter().skip_while(|digit| **digit == b'0').copied().collect::<Vec<u8>>();
    let (one, other) = (significant(one), significant(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(&other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_have_debians_order() {
        for chain in [
            &["1~~", "1~~a", "1~", "1", "1a", "1+", "1.0", "1.1"] as &[&str],
            &["0.9-9", "1-0.1", "1-1~bpo12+1", "1-1", "1-1+b1", "1-1+deb13u1", "1-1+deb13u10", "1-2", "1-10"],
            &["9999", "1:0", "2:0"],
            &["1.2.3", "1.2.10", "1.2.10a", "1.2.99999999999999999999999", "1.2.100000000000000000000000"],
            &["1.0-1-1", "1.0-1-2", "1.0-2-1"],
            &["a", "b", "+", "."],
        ] {
            for (index, one) in chain.iter().enumerate() {
                for (at, other) in chain.iter().enumerate() {
                    assert_eq!(compare(one, other), index.cmp(&at), "{one} {other}");
                }
            }
        }
        for (one, other) in [("1", "1-0"), ("0:1", "1"), ("1.01", "1.1"), ("1-00", "1-0"), ("", "0")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(versions in prop::collection::vec("[0-9:~+.a-c-]{0,6}", 3)) {
            let [a, b, c] = [&versions[0], &versions[1], &versions[2]];
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }
}
