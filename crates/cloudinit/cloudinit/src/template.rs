//! Substitutes the machine's addresses for tokens such as `$private_ipv4` (contract 1.5).
//!
//! Substitution precedes parsing, and substituted text is not scanned again.

use std::borrow::Cow;

/// The machine's own addresses, as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    pub public_ipv4: Option<String>,
    pub private_ipv4: Option<String>,
    pub public_ipv6: Option<String>,
    pub private_ipv6: Option<String>,
}

impl Addresses {
    /// Token, environment variable and value of each address, sorted by variable.
    pub fn entries(&self) -> [(&'static str, &'static str, Option<&str>); 4] {
        [
            ("$private_ipv4", "COREOS_PRIVATE_IPV4", self.private_ipv4.as_deref()),
            ("$private_ipv6", "COREOS_PRIVATE_IPV6", self.private_ipv6.as_deref()),
            ("$public_ipv4", "COREOS_PUBLIC_IPV4", self.public_ipv4.as_deref()),
            ("$public_ipv6", "COREOS_PUBLIC_IPV6", self.public_ipv6.as_deref()),
        ]
    }

    /// Returns these addresses, with unknown ones taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            public_ipv4: self.public_ipv4.or(other.public_ipv4),
            private_ipv4: self.private_ipv4.or(other.private_ipv4),
            public_ipv6: self.public_ipv6.or(other.public_ipv6),
            private_ipv6: self.private_ipv6.or(other.private_ipv6),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct Substituted<'text> {
    pub text: Cow<'text, [u8]>,
    /// Tokens replaced by an empty text, with the line of their first occurrence.
    pub unknown: Vec<(&'static str, u32)>,
}

/// Replaces all tokens; the escaped `\$token` becomes `$token`.
pub fn substitute<'text>(text: &'text [u8], addresses: &Addresses) -> Substituted<'text> {
    substitute_tokens(text, &addresses.entries().map(|(token, _, value)| (token, value)))
}

/// As [`substitute`], for other tokens. If one token begins with another, the longer one comes first.
pub fn substitute_tokens<'text>(
    text: &'text [u8],
    tokens: &[(&'static str, Option<&str>)],
) -> Substituted<'text> {
    let mut out: Option<Vec<u8>> = None;
    let mut unknown = Vec::new();
    let (mut copied, mut at, mut line) = (0, 0, 1);
    while let Some(step) = text[at..].iter().position(|byte| matches!(byte, b'$' | b'\n')) {
        at += step;
        if text[at] == b'\n' {
            line += 1;
            at += 1;
            continue;
        }
        let Some((token, value)) = tokens.iter().find(|(token, _)| text[at..].starts_with(token.as_bytes()))
        else {
            at += 1;
            continue;
        };
        let out = out.get_or_insert_with(|| Vec::with_capacity(text.len()));
        if at > copied && text[at - 1] == b'\\' {
            out.extend_from_slice(&text[copied..at - 1]);
            out.extend_from_slice(token.as_bytes());
        } else {
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(value.unwrap_or_default().as_bytes());
            if value.is_none() && !unknown.iter().any(|(known, _)| known == token) {
                unknown.push((*token, line));
            }
        }
        at += token.len();
        copied = at;
    }
    let text = match out {
        None => Cow::Borrowed(text),
        Some(mut out) => {
            out.extend_from_slice(&text[copied..]);
            Cow::Owned(out)
        }
    };
    Substituted { text, unknown }
}

/// As [`substitute`] if no addresses are known: tokens are kept, `\$token` becomes `$token`.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    let itself = |token: &str| Some(token.to_owned());
    let addresses = Addresses {
        public_ipv4: itself("$public_ipv4"),
        private_ipv4: itself("$private_ipv4"),
        public_ipv6: itself("$public_ipv6"),
        private_ipv6: itself("$private_ipv6"),
    };
    substitute(text, &addresses).text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let addresses = Addresses {
            private_ipv4: Some("10.0.0.1".into()),
            public_ipv4: Some("$private_ipv4".into()),
            ..Addresses::default()
        };
        for (text, expect) in [
            ("plain $HOME ${private_ipv4}", "plain $HOME ${private_ipv4}"),
            ("a: $private_ipv4", "a: 10.0.0.1"),
            ("$private_ipv4x", "10.0.0.1x"),
            ("$private_ipv4$private_ipv4", "10.0.0.110.0.0.1"),
            ("\\$private_ipv4", "$private_ipv4"),
            ("\\\\$private_ipv4", "\\$private_ipv4"),
            ("$private_ipv4\\$private_ipv4 \\$x", "10.0.0.1$private_ipv4 \\$x"),
            ("$public_ipv4", "$private_ipv4"),
            ("[$public_ipv6]", "[]"),
            ("$", "$"),
        ] {
            let got = substitute(text.as_bytes(), &addresses);
            assert_eq!(String::from_utf8_lossy(&got.text), expect, "{text}");
        }
        let got = substitute(b"a\nb $public_ipv6\n$public_ipv6 $private_ipv6", &addresses);
        assert_eq!(got.unknown, [("$public_ipv6", 2), ("$private_ipv6", 3)]);
    }
}
