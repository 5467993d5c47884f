//! `-cors`: which pages of other origins may use the interface from a browser.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue,
    ORIGIN,
};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The configured origins; empty allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// As the flag gives them: origins like `http://host:port`, or `*`.
    pub fn new(origins: Vec<String>) -> Cors {
        Cors { origins }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.origins.is_empty()
    }

    /// The value of `Access-Control-Allow-Origin` for a request; none where its origin is not allowed.
    pub(crate) fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.iter().any(|origin| origin == "*") {
            return Some(ANY);
        }
        let origin = request.get(ORIGIN)?;
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

pub(crate) fn add(answer: &mut HeaderMap, origin: HeaderValue) {
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let check = |configured: &[&str], origin: Option<&'static str>, expect: Option<&str>| {
            let cors = Cors::new(configured.iter().map(|text| (*text).to_owned()).collect());
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            let allowed = cors.allowed(&headers);
            assert_eq!(allowed.as_ref().map(|value| value.to_str().unwrap()), expect);
        };
        check(&[], Some("http://a"), None);
        check(&["*"], None, Some("*"));
        check(&["http://a", "http://b"], Some("http://b"), Some("http://b"));
        check(&["http://a"], Some("http://b"), None);
        check(&["http://a"], None, None);
    }
}
