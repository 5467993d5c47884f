//! Cases as data: files in `cases/`, each case a few requests with what must come back.
//!
//! Nothing here talks to a server. The language is described in `cases/README.md`.

mod parse;
mod template;

pub use parse::parse;
pub use template::{Environment, expand, matches};

use crate::backend::Kind;

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub holds: Vec<Kind>,
    /// Where it is tried and must fail, with the reason.
    pub differs: Vec<(Kind, String)>,
    /// Works on the root itself instead of a folder of its own.
    pub bare: bool,
    pub steps: Vec<Step>,
}

impl Case {
    /// Why it must fail on `kind`, where it must.
    pub fn mark(&self, kind: Kind) -> Option<&str> {
        self.differs.iter().find(|(marked, _)| *marked == kind).map(|(_, reason)| reason.as_str())
    }
}

#[derive(Debug, Clone)]
pub struct Step {
    /// File and line, for messages.
    pub place: String,
    /// From 1; where there are fewer members, the last.
    pub member: usize,
    pub sent: Sent,
    /// One after the other on the same connection.
    pub expected: Vec<Expected>,
}

#[derive(Debug, Clone)]
pub enum Sent {
    Request {
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: Option<String>,
    },
    /// Byte for byte, after placeholders and escapes.
    Raw(String),
}

#[derive(Debug, Clone)]
pub struct Expected {
    pub status: u16,
    pub index: IndexRule,
    pub body: BodyRule,
    /// `None` where the header must be absent.
    pub headers: Vec<(String, Option<String>)>,
}

#[derive(Debug, Clone)]
pub enum IndexRule {
    Any,
    Absent,
    Is(String),
}

#[derive(Debug, Clone)]
pub enum BodyRule {
    Any,
    /// The whole body, as a template.
    Is(String),
}

/// All cases of the files in `cases/`.
pub fn all() -> Result<Vec<Case>, crate::failure::Failure> {
    let files = [
        ("requests", include_str!("../cases/requests.case")),
        ("parameters", include_str!("../cases/parameters.case")),
        ("answers", include_str!("../cases/answers.case")),
        ("get", include_str!("../cases/get.case")),
        ("put", include_str!("../cases/put.case")),
        ("compare", include_str!("../cases/compare.case")),
        ("refresh", include_str!("../cases/refresh.case")),
        ("post", include_str!("../cases/post.case")),
        ("delete", include_str!("../cases/delete.case")),
        ("history", include_str!("../cases/history.case")),
        ("script", include_str!("../cases/script.case")),
        ("members", include_str!("../cases/members.case")),
        ("endpoints", include_str!("../cases/endpoints.case")),
        ("auth", include_str!("../cases/auth.case")),
        ("v1", include_str!("../cases/v1.case")),
    ];
    let mut cases = Vec::new();
    for (name, text) in files {
        cases.extend(parse(name, text)?);
    }
    Ok(cases)
}
