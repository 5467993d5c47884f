//! Requests and responses, independent of the HTTP client of a test.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// Path and query, percent-encoded.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names are compared without case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    /// From a request line such as `GET /path`.
    pub fn new(line: &str) -> Self {
        let (method, target) = line.split_once(' ').expect("METHOD TARGET");
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: String::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

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
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
