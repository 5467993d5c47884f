//! `/etc/resolv.conf`: servers and options, as described in resolv.conf(5).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// The port of DNS.
const PORT: u16 = 53;
/// Maximum values of `timeout`, `attempts` and `ndots`, as in the C library.
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;
const DOTS_MAX: usize = 15;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// In the order in which they are tried; at least one.
    pub servers: Vec<SocketAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Names with fewer dots are looked up in the search domains first.
    pub dots: usize,
    /// Timeout of a query to one server.
    pub timeout: Duration,
    /// Number of attempts per server.
    pub attempts: u32,
}

impl Settings {
    pub fn read(path: &Path) -> io::Result<Self> {
        Self::parse(&String::from_utf8_lossy(&std::fs::read(path)?))
    }

    fn parse(text: &str) -> io::Result<Self> {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut fields = line.split_whitespace();
            match fields.next() {
                Some("nameserver") => settings.servers.extend(fields.next().and_then(server)),
                // The last occurrence wins.
                Some("search" | "domain") => {
                    settings.search = fields.filter(|domain| *domain != "--").map(str::to_owned).collect();
                }
                Some("options") => fields.for_each(|option| settings.set(option)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no nameserver is named"));
        }
        Ok(settings)
    }

    fn set(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        match (name, value.parse::<u64>()) {
            ("ndots", Ok(value)) => self.dots = usize::try_from(value).unwrap_or(DOTS_MAX).min(DOTS_MAX),
            ("timeout", Ok(value)) => self.timeout = Duration::from_secs(value.clamp(1, TIMEOUT_MAX)),
            ("attempts", Ok(value)) => {
                self.attempts = u32::try_from(value).unwrap_or(ATTEMPTS_MAX).clamp(1, ATTEMPTS_MAX);
            }
            _ => {}
        }
    }

    /// The names to look up for `name`, in order.
    pub fn names(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let mut names: Vec<_> = self.search.iter().map(|domain| format!("{name}.{domain}")).collect();
        let first = name.matches('.').count() >= self.dots;
        names.insert(if first { 0 } else { names.len() }, name.to_owned());
        names
    }
}

/// An address, without its scope.
fn server(field: &str) -> Option<SocketAddr> {
    let address = field.split('%').next().unwrap_or(field);
    Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_match_the_c_library() {
        let settings = |text: &str| Settings::parse(text).unwrap();
        let plain = settings("nameserver 127.0.0.53\n");
        assert_eq!(plain.servers, ["127.0.0.53:53".parse().unwrap()]);
        assert_eq!((plain.dots, plain.timeout, plain.attempts), (1, Duration::from_secs(5), 2));
        let full = settings(
            "# nameserver 10.0.0.9\n;x\nnameserver 10.0.0.1 # first\nnameserver fe80::1%eth0\nnameserver x\n\
             domain old.test\nsearch a.test -- b.test\noptions edns0 ndots:2 timeout:99 attempts:0 trust-ad\n",
        );
        assert_eq!(full.servers, ["10.0.0.1:53", "[fe80::1]:53"].map(|server| server.parse().unwrap()));
        assert_eq!(full.search, ["a.test", "b.test"]);
        assert_eq!((full.dots, full.timeout, full.attempts), (2, Duration::from_secs(30), 1));
        assert!(Settings::parse("search a.test\n").is_err());
    }

    #[test]
    fn search_domains() {
        let settings = Settings::parse("nameserver ::1\nsearch a.test b.test\noptions ndots:2\n").unwrap();
        assert_eq!(settings.names("x.y.z."), ["x.y.z."]);
        assert_eq!(settings.names("x.y.z"), ["x.y.z", "x.y.z.a.test", "x.y.z.b.test"]);
        assert_eq!(settings.names("x.y"), ["x.y.a.test", "x.y.b.test", "x.y"]);
    }
}
