//! Which target paths a delegation covers: shell patterns, and prefixes of digests (specification, section 4.5).

use sha2::{Digest as _, Sha256};

use crate::digests::hex;

/// Whether a path matches a pattern of `*`, `?` and `[...]`. None of them matches `/`.
#[must_use]
pub fn pattern_matches(pattern: &str, path: &str) -> bool {
    let (patterns, names) = (pattern.split('/'), path.split('/'));
    if patterns.clone().count() != names.clone().count() {
        return false;
    }
    patterns.zip(names).all(|(pattern, name)| {
        let pattern: Vec<char> = pattern.chars().collect();
        let name: Vec<char> = name.chars().collect();
        matches(&pattern, &name)
    })
}

/// Backtracks to the last `*` only, so that the time is at most the product of the lengths.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut next, mut star) = (0, 0, None);
    while next < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, next));
            at += 1;
            continue;
        }
        if let Some(length) = one(&pattern[at..], name[next]) {
            at += length;
            next += 1;
        } else if let Some((star_at, from)) = star {
            star = Some((star_at, from + 1));
            at = star_at + 1;
            next = from + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// The length of the pattern's first item, if it matches `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => set(pattern, c).unwrap_or_else(|| (c == '[').then_some(1)),
        literal => (*literal == c).then_some(1),
    }
}

/// `[abc]`, `[a-z]`, `[!a]`: the outer `None` if the set has no end, so that `[` is itself.
#[allow(clippy::option_option, reason = "not a set, or a set that does not match")]
fn set(pattern: &[char], c: char) -> Option<Option<usize>> {
    let negated = pattern.get(1) == Some(&'!');
    let first = 1 + usize::from(negated);
    // A `]` in the first place is a member.
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let members = &pattern[first..end];
    let (mut at, mut found) = (0, false);
    while at < members.len() {
        if let [from, '-', to, ..] = members[at..] {
            found |= (from..=to).contains(&c);
            at += 3;
        } else {
            found |= members[at] == c;
            at += 1;
        }
    }
    Some((found != negated).then_some(end + 1))
}

/// The digest of a target path, for `path_hash_prefixes`: 64 lower-case hexadecimal digits.
#[must_use]
pub fn path_digest(path: &str) -> String {
    hex(&Sha256::digest(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, good: &[&str], bad: &[&str]) {
        for path in good {
            assert!(pattern_matches(pattern, path), "{pattern} {path}");
        }
        for path in bad {
            assert!(!pattern_matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn wildcards_match_within_a_folder() {
        check("targets/*.tgz", &["targets/foo.tgz", "targets/.tgz"], &["targets/foo.txt", "targets/a/b.tgz"]);
        check("foo-version-?.tgz", &["foo-version-2.tgz", "foo-version-ä.tgz"], &["foo-version-alpha.tgz"]);
        check("*.tgz", &["foo.tgz"], &["targets/foo.tgz", "foo.tgz/"]);
        check("foo.tgz", &["foo.tgz"], &["Foo.tgz", "foo.tgz.1", "afoo.tgz"]);
        check("*", &["a", ""], &["a/b"]);
        check("*a*b", &["ab", "xaxxb", "aab"], &["aba", "b"]);
        check("a?b", &["axb"], &["a/b", "ab"]);
        check("", &[""], &["a"]);
    }

    #[test]
    fn sets_match_as_in_a_shell() {
        check("v[0-9].[!a]", &["v1.b"], &["va.b", "v1.a", "v1./"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[a-]", &["a", "-"], &["b"]);
        check("[a", &["[a"], &["a"]);
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_exponential_time() {
        assert!(!pattern_matches(&format!("{}b", "*a".repeat(200)), &"a".repeat(5_000)));
    }
}
