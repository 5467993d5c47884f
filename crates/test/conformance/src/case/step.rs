//! A case: its steps, their expected responses, and the kinds of servers that satisfy it.

use crate::backend::Kind;

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    pub holds: Vec<Kind>,
    /// Kinds that must fail it, each with the reason.
    pub differs: Vec<(Kind, String)>,
    /// Uses the root itself instead of a separate folder.
    pub bare: bool,
    pub steps: Vec<Step>,
}

impl Case {
    /// The reason why `kind` must fail it, if so.
    pub fn mark(&self, kind: Kind) -> Option<&str> {
        self.differs.iter().find(|(marked, _)| *marked == kind).map(|(_, reason)| reason.as_str())
    }
}

#[derive(Debug, Clone)]
pub struct Step {
    /// File and line, for messages.
    pub location: String,
    /// From 1; the last member if the cluster has fewer.
    pub member: usize,
    pub sent: Sent,
    /// Responses in order on the same connection.
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
    /// Sent byte for byte, after placeholders and escapes.
    Raw(String),
}

#[derive(Debug, Clone)]
pub struct Expected {
    pub status: u16,
    pub index: IndexRule,
    pub body: BodyRule,
    /// `None` if the header must be absent.
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
