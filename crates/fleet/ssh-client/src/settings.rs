//! How connections are opened.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Settings {
    pub user: String,
    /// For connecting, and for the login; time that the user needs for an answer does not count.
    pub timeout: Duration,
    /// A private key, tried before the agent's.
    pub identity: Option<PathBuf>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    /// Sessions may use the agent.
    pub forward_agent: bool,
    /// `None`: any host key is taken, and none is kept.
    pub known_hosts: Option<PathBuf>,
}

const PORT: u16 = 22;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub fn new(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    /// From `host`, `host:port`, `[::1]:port` or a bare IPv6 address. `None` where the port is none.
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

/// As a file of known hosts names it: `H`, or `[H]:port` for other ports than 22.
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
