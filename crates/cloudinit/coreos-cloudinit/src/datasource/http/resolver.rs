//! Resolves host names, with the zone of a link-local address (`[fe80::a9fe:a9fe%25eth0]`).

use std::net::SocketAddr;
use std::path::Path;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

const INTERFACES: &str = "/sys/class/net";

/// The default resolver, which sets the scope of IPv6 addresses.
#[derive(Debug, Default)]
pub(super) struct ZoneResolver {
    default: DefaultResolver,
    /// The interface's index.
    scope: Option<u32>,
}

impl ZoneResolver {
    /// `None` if the interface does not exist.
    pub fn new(zone: Option<&str>) -> Option<Self> {
        let scope = match zone {
            Some(zone) => Some(interface_index(zone)?),
            None => None,
        };
        Some(Self { scope, ..Self::default() })
    }
}

fn interface_index(zone: &str) -> Option<u32> {
    if let Ok(index) = zone.parse() {
        return Some(index);
    }
    if zone.is_empty() || zone.starts_with('.') || zone.contains('/') {
        return None;
    }
    let text = std::fs::read_to_string(Path::new(INTERFACES).join(zone).join("ifindex")).ok()?;
    text.trim().parse().ok()
}

impl Resolver for ZoneResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.default.resolve(uri, config, timeout)?;
        if let Some(scope) = self.scope {
            for address in &mut *addresses {
                if let SocketAddr::V6(address) = address {
                    address.set_scope_id(scope);
                }
            }
        }
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::Timeout;
    use ureq::unversioned::transport::time::Duration;

    #[test]
    fn a_zone_is_an_interface() {
        let index = interface_index("lo").unwrap();
        for (zone, expect) in [(Some("lo"), index), (Some("7"), 7), (None, 0)] {
            let timeout = NextTimeout {
                after: Duration::NotHappening,
                reason: Timeout::Global,
                ..NextTimeout::default()
            };
            let uri = Uri::from_static("http://[fe80::1]:80/");
            let resolver = ZoneResolver::new(zone).unwrap();
            let addresses = resolver.resolve(&uri, &Config::default(), timeout).unwrap();
            let scopes: Vec<_> = addresses
                .iter()
                .map(|address| match address {
                    SocketAddr::V6(address) => address.scope_id(),
                    SocketAddr::V4(_) => panic!("{address}"),
                })
                .collect();
            assert_eq!(scopes, [expect], "{zone:?}");
        }
        for zone in ["nothing0", "..", "a/b", ""] {
            assert!(ZoneResolver::new(Some(zone)).is_none(), "{zone}");
        }
    }
}
