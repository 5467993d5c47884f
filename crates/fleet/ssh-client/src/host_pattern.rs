//! The hosts of a line in a known hosts file: patterns, or one hashed name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

/// Start of a hashed name: `|1|SALT|HASH`, both in base64. 1 is HMAC-SHA1, with the salt as its key.
const HASHED: &str = "|1|";
const SHA1_BYTES: usize = 20;

/// Like OpenSSH, compares names in lower case.
#[derive(Debug)]
pub enum HostPattern {
    /// In order of the line. `*` matches any characters, `?` one, and `!` negates.
    Patterns(Vec<String>),
    Hashed {
        salt: [u8; SHA1_BYTES],
        hash: [u8; SHA1_BYTES],
    },
}

impl HostPattern {
    /// From the first field of a line.
    pub fn parse(field: &str) -> Result<HostPattern, &'static str> {
        let Some(hashed) = field.strip_prefix(HASHED) else {
            return match field.starts_with('|') {
                true => Err("unknown hash of the host name"),
                false => Ok(HostPattern::Patterns(
                    field.to_ascii_lowercase().split(',').map(str::to_owned).collect(),
                )),
            };
        };
        let parts = hashed.split_once('|').and_then(|(salt, hash)| Some((decode(salt)?, decode(hash)?)));
        let (salt, hash) = parts.ok_or("invalid hash of the host name")?;
        Ok(HostPattern::Hashed { salt, hash })
    }

    /// The pattern that matches one name.
    pub fn exact(name: &str) -> HostPattern {
        HostPattern::Patterns(vec![name.to_ascii_lowercase()])
    }

    /// `name` is in the notation of known hosts files: `H` or `[H]:port`.
    pub fn matches(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        match self {
            HostPattern::Patterns(patterns) => {
                let mut matched = false;
                for pattern in patterns {
                    match pattern.strip_prefix('!') {
                        // Takes precedence over all other patterns of the line.
                        Some(negated) if matches_wildcards(negated, &name) => return false,
                        Some(_) => {}
                        None => matched |= matches_wildcards(pattern, &name),
                    }
                }
                matched
            }
            HostPattern::Hashed { salt, hash } => {
                // HMAC accepts keys of any length.
                let hmac = Hmac::<Sha1>::new_from_slice(salt);
                hmac.is_ok_and(|hmac| hmac.chain_update(&name).verify_slice(hash).is_ok())
            }
        }
    }
}

fn decode(text: &str) -> Option<[u8; SHA1_BYTES]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Returns to the last `*` only: the time is bounded by the product of the lengths.
fn matches_wildcards(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut matched) = (0, 0);
    // Position after the last `*`, and how much of the name is matched up to there.
    let mut last_star = None;
    while matched < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                last_star = Some((at, matched));
            }
            Some(byte) if *byte == b'?' || *byte == name[matched] => {
                at += 1;
                matched += 1;
            }
            _ => {
                let Some((after_star, covered)) = last_star else { return false };
                last_star = Some((after_star, covered + 1));
                (at, matched) = (after_star, covered + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |field: &str, name: &str, expect: bool| {
            assert_eq!(HostPattern::parse(field).unwrap().matches(name), expect, "{field} {name}");
        };
        check("a,b", "b", true);
        check("a,b", "ab", false);
        check("A", "a", true);
        check("a", "A", true);
        check("*", "[a]:2222", true);
        check("10.0.0.?", "10.0.0.7", true);
        check("10.0.0.?", "10.0.0.17", false);
        check("10.0.0.?", "10.0.0.", false);
        check("*.example,!b.example", "a.example", true);
        check("*.example,!b.example", "b.example", false);
        check("!b.example,*.example", "b.example", false);
        check("!a", "b", false);
        check("!a", "!a", false);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-b-b-c-", false);
        check("a**", "a", true);
        check("[a]:*", "[a]:2222", true);
        check("[a]:2222", "a", false);
        check("[b]", "b", false);
        check("", "a", false);
        // Exponential if each `*` is tried again.
        check(&"*a".repeat(30_000), &"a".repeat(255), false);
    }

    /// The lines are those of `ssh-keygen -H`.
    #[test]
    fn hashed_names() {
        let check = |field: &str, name: &str, expect: bool| {
            assert_eq!(HostPattern::parse(field).unwrap().matches(name), expect, "{field} {name}");
        };
        let host = "|1|GprogWTqw1Wnrl3QC9c8EElnWBk=|e8M9XJ2Boz+ArtxzyCl3Zjxlouw=";
        let with_port = "|1|45LOJ2+bnU9zgGKyNG7nFu6caoQ=|4EsuWMFb2eOXtowO5Iy0pczEVxE=";
        check(host, "hidden", true);
        check(host, "HIDDEN", true);
        check(host, "[hidden]:2222", false);
        check(with_port, "[hidden]:2222", true);
        check(with_port, "hidden", false);
        check(with_port, "", false);
    }

    #[test]
    fn invalid_hashes_are_rejected() {
        let good = "GprogWTqw1Wnrl3QC9c8EElnWBk=";
        for field in [
            "|",
            "|2|x|y",
            "|1|",
            "|1|x|y",
            "|1||",
            &format!("|1|{good}"),
            &format!("|1|{good}|AAAA"),
            &format!("|1|AAAA|{good}"),
        ] {
            assert!(HostPattern::parse(field).is_err(), "{field}");
        }
    }
}
