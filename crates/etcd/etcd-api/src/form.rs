//! Request parameters: the query string, and for PUT and POST a form in the body.

use std::borrow::Cow;

use crate::limits::MAX_BODY_BYTES;
use crate::query_escape::{EscapeError, decode_form};

const FORM_TYPE: &[u8] = b"application/x-www-form-urlencoded";

/// Parameters in order of precedence: the body's, then the query's.
#[derive(Debug, Default)]
pub struct Form<'a> {
    pairs: Vec<Pair<'a>>,
}

/// A decoded name and value.
type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// An invalid form. `Display` is the response's cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum FormError {
    #[error(transparent)]
    Escape(#[from] EscapeError),
    #[error("invalid semicolon separator in query")]
    Semicolon,
    #[error("http: POST too large")]
    TooLarge,
}

impl<'a> Form<'a> {
    /// Parses both parts; the body's error takes precedence. `body` is `None` for methods without a form.
    pub fn parse(
        query: Option<&'a str>,
        content_type: Option<&[u8]>,
        body: Option<&'a [u8]>,
    ) -> Result<Self, FormError> {
        let mut form = Self::default();
        let body = body.filter(|_| content_type.is_some_and(is_form));
        let from_body = match body {
            Some(body) if body.len() > MAX_BODY_BYTES => Err(FormError::TooLarge),
            Some(body) => form.read(body),
            None => Ok(()),
        };
        let from_query = form.read(query.unwrap_or_default().as_bytes());
        from_body.and(from_query)?;
        Ok(form)
    }

    /// The first value of a parameter.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.pairs.iter().find(|(given, _)| given.as_ref() == name.as_bytes());
        found.map(|(_, value)| value.as_ref())
    }

    /// Continues after an error, as Go does: a later `;` takes precedence over an earlier invalid escape.
    fn read(&mut self, text: &'a [u8]) -> Result<(), FormError> {
        let mut result = Ok(());
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pair.contains(&b';') {
                result = Err(FormError::Semicolon);
                continue;
            }
            let middle = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = middle.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            match decode_form(name).and_then(|name| Ok((name, decode_form(value)?))) {
                Ok(pair) => self.pairs.push(pair),
                Err(error) => result = result.and(Err(error.into())),
            }
        }
        result
    }
}

/// Parameters of the type, such as a charset, are ignored.
fn is_form(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    content_type[..end].trim_ascii().eq_ignore_ascii_case(FORM_TYPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: Option<&[u8]> = Some(b"application/x-www-form-urlencoded; charset=utf-8");

    #[test]
    fn the_body_takes_precedence_over_the_query() {
        let form = Form::parse(Some("value=q&ttl=5"), TYPE, Some(b"value=b+c&value=d")).unwrap();
        assert_eq!(form.get("value"), Some(&b"b c"[..]));
        assert_eq!(form.get("ttl"), Some(&b"5"[..]));
        assert_eq!(form.get("TTL"), None);
    }

    #[test]
    fn other_bodies_are_ignored() {
        for (content_type, body) in [
            (None, Some(&b"value=b"[..])),
            (Some(&b"application/json"[..]), Some(&b"value=%zz"[..])),
            (TYPE, None),
        ] {
            assert_eq!(Form::parse(None, content_type, body).unwrap().get("value"), None);
        }
    }

    #[test]
    fn errors_are_gos() {
        let check = |query: &str, body: &[u8], expect: &str| {
            assert_eq!(Form::parse(Some(query), TYPE, Some(body)).unwrap_err().to_string(), expect);
        };
        check("a=%zz", b"", r#"invalid URL escape "%zz""#);
        check("a=%zz", b"b=%yy&c=%xx", r#"invalid URL escape "%yy""#);
        check("a=1;b=2", b"", "invalid semicolon separator in query");
        check("a=%zz&b;", b"", "invalid semicolon separator in query");
        check("", &vec![b'a'; MAX_BODY_BYTES + 1], "http: POST too large");
        assert!(Form::parse(None, TYPE, Some(&vec![b'a'; MAX_BODY_BYTES])).is_ok());
    }

    #[test]
    fn empty_parts_and_missing_values() {
        let form = Form::parse(Some("&&wait&=x&a=b=c"), None, None).unwrap();
        assert_eq!(form.get("wait"), Some(&b""[..]));
        assert_eq!(form.get("a"), Some(&b"b=c"[..]));
    }
}
