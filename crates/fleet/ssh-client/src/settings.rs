//! Settings of connections.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What the user's flags determine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The account on the server.
    pub user: String,
    /// Limit for connecting and for the login, each; prompts do not count.
    pub timeout: Duration,
    /// Private key file, tried before the agent's keys.
    pub identity: Option<PathBuf>,
    /// Socket of the agent.
    pub agent: Option<PathBuf>,
    /// Makes the agent available to sessions.
    pub forward_agent: bool,
    /// `None` accepts any host key and stores none.
    pub known_hosts: Option<PathBuf>,
}

const PORT: u16 = 22;

/// An SSH server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// 22 unless stated otherwise.
    pub port: u16,
}

impl Address {
    /// Neither part is checked.
    pub fn new(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    /// From `host`, `host:port`, `[::1]:port` or a bare IPv6 address. Returns `None` if the port is invalid.
    pub fn parse(text: &str) -> Option<Address> {
        let bare = |host: &str| (!host.is_empty()).then(|| Address::new(host, PORT));
        if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']')?;
            return match after.strip_prefix(':') {
                Some(port) => Some(Address::new(host, port.parse().ok()?)),
                None if after.is_empty() => bare(host),
                None => None,
            };
        }
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => bare(text),
            Some((host, port)) => bare(host).and(Some(Address::new(host, port.parse().ok()?))),
            None => bare(text),
        }
    }
}

/// The notation of known hosts files: `H`, or `[H]:port` for ports other than 22.
impl fmt::Display for Address {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            PORT => to.write_str(&self.host),
            port => write!(to, "[{}]:{port}", self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(Address::parse(text).map(|address| address.to_string()).as_deref(), expect, "{text}");
        };
        check("10.2.1.1", Some("10.2.1.1"));
        check("10.2.1.1:22", Some("10.2.1.1"));
        check("127.0.0.1:2222", Some("[127.0.0.1]:2222"));
        check("core.example:2222", Some("[core.example]:2222"));
        check("::1", Some("::1"));
        check("[::1]", Some("::1"));
        check("[::1]:2222", Some("[::1]:2222"));
        for bad in ["", ":22", "a:", "a:x", "a:70000", "[::1]x"] {
            check(bad, None);
        }
    }
}
