//! `-cors`: origins whose pages may use the API.

use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue,
    ORIGIN,
};

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static("accept, content-type, authorization");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The configured origins; none are allowed if empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
}

impl Cors {
    /// Takes origins such as `http://host:port`, or `*`.
    pub fn new(origins: Vec<String>) -> Cors {
        Cors { origins }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.origins.is_empty()
    }

    /// The value of `Access-Control-Allow-Origin`; `None` if the request's origin is not allowed.
    pub(crate) fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        if self.origins.iter().any(|origin| origin == "*") {
            return Some(ANY);
        }
        let origin = request.get(ORIGIN)?;
        self.origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }
}

pub(crate) fn add(response: &mut HeaderMap, origin: HeaderValue) {
    response.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    response.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
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
