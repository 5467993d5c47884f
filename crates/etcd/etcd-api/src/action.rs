//! Actions of events.

/// The `action` of a response or event.
#[expect(missing_docs, reason = "each variant is the action of its name in etcd")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Get,
    Create,
    Set,
    Update,
    Delete,
    CompareAndSwap,
    CompareAndDelete,
    Expire,
}

impl Action {
    /// Every action, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Create,
        Self::Set,
        Self::Update,
        Self::Delete,
        Self::CompareAndSwap,
        Self::CompareAndDelete,
        Self::Expire,
    ];

    /// The JSON value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Set => "set",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::CompareAndSwap => "compareAndSwap",
            Self::CompareAndDelete => "compareAndDelete",
            Self::Expire => "expire",
        }
    }

    /// Whether the action removes the node.
    pub fn removes(self) -> bool {
        matches!(self, Self::Delete | Self::CompareAndDelete | Self::Expire)
    }
}
