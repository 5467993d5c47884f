//! What a flag is: its name, what its value must look like, and how it is told to people.

use crate::url::{Scheme, Url};

/// One flag, and with it one `ETCD_*` variable.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    pub name: &'static str,
    pub kind: Kind,
    /// As help shows it; empty = none.
    pub default: &'static str,
    pub group: Group,
    /// One sentence, or for flags without effect the reason.
    pub help: &'static str,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-x` or `-x=false`, never `-x false`.
    Switch,
    Text,
    Path,
    Number,
    Urls,
    /// `host:port` or a bare URL.
    Address,
    /// The same, and the port may be left out.
    BindAddress,
    /// Addresses, comma separated.
    Addresses,
    Choice(&'static [&'static str]),
    /// No effect: a value is taken where one stands, in either form.
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
    Classic,
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
        Self::Classic,
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
            Self::Classic => "Compatibility with etcd 0.4",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Current,
    /// Works; the text says what to write today.
    Deprecated(&'static str),
    /// Another spelling of this flag.
    Alias(&'static str),
    /// Taken and without effect. 0.4's are warned about.
    NoEffect,
    /// Answered by the program at once: has no variable.
    CommandLineOnly,
}

impl Flag {
    /// `listen-peer-urls` -> `ETCD_LISTEN_PEER_URLS`.
    pub fn environment(&self) -> String {
        format!("ETCD_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch | Kind::IgnoredSwitch)
    }
}

/// `host:port` as 0.4's flags have it, before it becomes a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Only where a bare URL was given.
    pub scheme: Option<Scheme>,
    pub host: String,
    pub port: Option<u16>,
}

/// A value that has the form its flag asks for.
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
