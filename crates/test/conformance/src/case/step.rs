//! A case: its steps, what each expects, and where it holds.

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
