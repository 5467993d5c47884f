//! Requests and responses, independent of the HTTP client of a test.

/// What a test sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// In upper case.
    pub method: String,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    /// Empty if there is none.
    pub body: String,
}

/// What it received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub status: u16,
    /// Names are compared without case.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

impl Request {
    /// From a request line such as `GET /path`.
    pub fn new(line: &str) -> Self {
        let (method, target) = line.split_once(' ').expect("METHOD TARGET");
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: String::new() }
    }

    /// With a further header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body of this type.
    pub fn body(self, content_type: &str, body: &str) -> Self {
        Self { body: body.into(), ..self.header("Content-Type", content_type) }
    }

    /// `GET /path`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl Response {
    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
