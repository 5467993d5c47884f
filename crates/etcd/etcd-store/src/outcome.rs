//! What applying one command did.

use std::sync::Arc;

use etcd_api::{ApiError, Event, Member, Role};

use crate::auth_error::AuthError;
use crate::membership_error::MembershipError;
use crate::user::User;

/// The same on every member that applies the same command at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The store index after the command: the answer's `X-Etcd-Index`.
    pub index: u64,
    pub result: Result<Change, Refusal>,
}

/// What a command that was carried out did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key changed; watchers are told.
    Event(Arc<Event>),
    /// A time to live was renewed: an answer like any other, which no watcher gets.
    Refreshed(Arc<Event>),
    /// A sync: nodes whose time was over, in the order of their going.
    Expired(Vec<Arc<Event>>),
    /// The member as it is now; of a removal, as it was.
    Member(Member),
    ClusterVersion(String),
    /// The member's disk is in the record: nothing that clients see, and no index of its own.
    Disk,
    AuthSwitched {
        enabled: bool,
    },
    User {
        created: bool,
        user: User,
    },
    Role {
        created: bool,
        role: Role,
    },
    UserDeleted,
    RoleDeleted,
}

/// Why a command was not carried out; the state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Keys(#[from] ApiError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Outcome {
    /// What to give to `watch::Hub`, in this order.
    pub fn watch_events(&self) -> &[Arc<Event>] {
        match &self.result {
            Ok(Change::Event(event)) => std::slice::from_ref(event),
            Ok(Change::Expired(events)) => events,
            _ => &[],
        }
    }

    /// The answer to a client that put, posted or deleted.
    pub fn event(&self) -> Option<&Arc<Event>> {
        match &self.result {
            Ok(Change::Event(event) | Change::Refreshed(event)) => Some(event),
            _ => None,
        }
    }
}
