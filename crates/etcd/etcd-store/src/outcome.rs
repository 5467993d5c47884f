//! Outcomes of applied commands.

use std::sync::Arc;

use etcd_api::{ApiError, Event, Member, Role};

use crate::auth_error::AuthError;
use crate::membership_error::MembershipError;
use crate::user::User;

/// Equal on all members that apply the same command at the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The store's index after the command: `X-Etcd-Index` of the response.
    pub index: u64,
    /// A rejected command changes nothing.
    pub result: Result<Change, CommandError>,
}

/// The effect of a successful command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key changed; watchers are notified.
    Event(Arc<Event>),
    /// A TTL was refreshed; watchers are not notified.
    Refreshed(Arc<Event>),
    /// A sync: the expired nodes in order of removal.
    Expired(Vec<Arc<Event>>),
    /// The resulting member; for a removal, the removed one.
    Member(Member),
    /// The version that was set.
    ClusterVersion(String),
    /// A member's disk was recorded; not visible to clients, and without an index.
    Disk,
    /// Auth was enabled or disabled.
    AuthSwitched {
        /// The new setting.
        enabled: bool,
    },
    /// A user was created or modified.
    User {
        /// False for a modification.
        created: bool,
        /// The user afterwards.
        user: User,
    },
    /// A role was created or modified.
    Role {
        /// False for a modification.
        created: bool,
        /// The role afterwards.
        role: Role,
    },
    /// A user was removed.
    UserDeleted,
    /// A role was removed.
    RoleDeleted,
}

/// Why a command was rejected; the state is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum CommandError {
    #[error(transparent)]
    Keys(#[from] ApiError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Outcome {
    /// The events for `watch::Hub`, in order.
    pub fn watch_events(&self) -> &[Arc<Event>] {
        match &self.result {
            Ok(Change::Event(event)) => std::slice::from_ref(event),
            Ok(Change::Expired(events)) => events,
            _ => &[],
        }
    }

    /// The response to a put, post or delete.
    pub fn event(&self) -> Option<&Arc<Event>> {
        match &self.result {
            Ok(Change::Event(event) | Change::Refreshed(event)) => Some(event),
            _ => None,
        }
    }
}
