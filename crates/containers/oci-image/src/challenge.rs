//! Authentication challenges of registries: the header `WWW-Authenticate`.

use crate::limits::MAX_CHALLENGE;

/// How a registry wants requests to be authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The registry's name at the token server.
        service: Option<String>,
        /// What the token must permit.
        scope: Option<String>,
    },
}

/// Parses one header. `None` if it has no supported scheme.
#[must_use]
pub fn parse(header: &str) -> Option<Challenge> {
    if header.len() > MAX_CHALLENGE {
        return None;
    }
    let header = header.trim();
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameters = parameters(rest)?;
    let get = |name: &str| parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
}

/// Parameters `NAME=VALUE` or `NAME="VALUE"`, separated by commas.
fn parameters(mut rest: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(found);
        }
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let (value, behind) = behind.split_at(behind.find(',').unwrap_or(behind.len()));
                (value.trim().to_owned(), behind)
            }
        };
        if found.iter().any(|(present, _)| *present == name.to_ascii_lowercase()) {
            return None;
        }
        found.push((name.trim().to_ascii_lowercase(), value));
        rest = behind;
    }
}

/// The value before the closing quote, and what follows.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => value.push(chars.next()?.1),
            char if char.is_control() => return None,
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed() {
        let check = |header: &str, expected: Option<(&str, Option<&str>, Option<&str>)>| {
            let expected = expected.map(|(realm, service, scope)| Challenge::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            });
            assert_eq!(parse(header), expected, "{header}");
        };
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            Some((
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push"),
            )),
        );
        check("bearer realm=https://a/t, Service=s", Some(("https://a/t", Some("s"), None)));
        check(r#"Bearer realm="a\"b""#, Some(("a\"b", None, None)));
        check(r#"Bearer realm="a",,"#, Some(("a", None, None)));
        check(r#"Bearer service="s""#, None);
        check(r#"Bearer realm="a"#, None);
        check(r#"Bearer realm="a",realm="b""#, None);
        check("Bearer realm", None);
        check("Bearer", None);
        check("Digest realm=\"a\"", None);
        check("", None);
        check(&format!("Bearer realm=\"{}\"", "a".repeat(9000)), None);
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("basic"), Some(Challenge::Basic));
    }
}
