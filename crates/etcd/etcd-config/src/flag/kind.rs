//! Types of flags and values.

use crate::url::{Scheme, Url};

/// A flag, and its variable `ETCD_*`.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub kind: ValueKind,
    /// As shown in the help; empty if there is none.
    pub default: &'static str,
    pub group: Group,
    /// One sentence; for flags without effect, the reason.
    pub help: &'static str,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// `-x` or `-x=false`, never `-x false`.
    Switch,
    Text,
    Path,
    Number,
    Urls,
    /// `host:port` or a bare URL.
    Address,
    /// `Address` with an optional port.
    BindAddress,
    /// Comma-separated addresses.
    Addresses,
    Choice(&'static [&'static str]),
    /// No effect; a following value is consumed, in either form.
    Ignored,
    IgnoredSwitch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Member,
    Cluster,
    Proxy,
    Security,
    Logging,
    Keelson,
    Version3,
    Etcd04,
}

impl Group {
    pub const ALL: [Self; 8] = [
        Self::Member,
        Self::Cluster,
        Self::Proxy,
        Self::Security,
        Self::Logging,
        Self::Keelson,
        Self::Version3,
        Self::Etcd04,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Member => "Member",
            Self::Cluster => "Clustering",
            Self::Proxy => "Proxy",
            Self::Security => "Security",
            Self::Logging => "Logging and profiling",
            Self::Keelson => "Keelson",
            Self::Version3 => "Compatibility with etcd 3",
            Self::Etcd04 => "Compatibility with etcd 0.4",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Current,
    /// Supported; the text is the replacement.
    Deprecated(&'static str),
    /// Another name of this flag.
    Alias(&'static str),
    /// Accepted without effect. Flags of 0.4 are warned about.
    NoEffect,
    /// Executed immediately; has no variable.
    CommandLineOnly,
}

impl Flag {
    /// `listen-peer-urls` -> `ETCD_LISTEN_PEER_URLS`.
    pub fn environment(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub fn is_switch(&self) -> bool {
        matches!(self.kind, ValueKind::Switch | ValueKind::IgnoredSwitch)
    }
}

/// A `host:port` of 0.4's flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Set only for a URL.
    pub scheme: Option<Scheme>,
    pub host: String,
    pub port: Option<u16>,
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Switch(bool),
    Text(String),
    Number(u64),
    Urls(Vec<Url>),
    Address(Address),
    Addresses(Vec<Address>),
    Ignored,
}
