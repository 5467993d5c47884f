//! Servers under test: starts each kind, and controls its processes.
//!
//! It kills only processes that it started, by process id, and leaves none running.

mod certificates;
mod changes;
mod cluster;
mod names;
mod network;
mod program;

pub use certificates::Certificates;
pub use cluster::{Cluster, Plan};
pub use names::resolve_on_loopback;
pub use network::{Network, in_own_namespaces};
pub use program::Program;

/// A kind of server, which selects the cases that it must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The HTTP front over the pure store, no log and no peers
    Model,
    /// One member of ours
    One,
    /// Three members of ours
    Three,
    /// Debian's etcd 3.4 with its v2 side on, one member or three
    Reference,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Model, Self::One, Self::Three, Self::Reference];

    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::One => "one",
            Self::Three => "three",
            Self::Reference => "reference",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
