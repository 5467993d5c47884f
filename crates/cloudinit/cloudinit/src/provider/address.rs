//! Parses addresses in provider data and assigns them by scope.

use std::net::IpAddr;
use std::str::FromStr;

use crate::template::Addresses;

/// The text is not an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidAddress;

/// Returns `None` for an empty text.
pub(super) fn read<A: FromStr>(text: &str) -> Result<Option<A>, InvalidAddress> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| InvalidAddress),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Public,
    Private,
}

/// The last address of a scope and family wins.
pub(super) fn set_address(addresses: &mut Addresses, scope: Scope, address: IpAddr) {
    let slot = match (scope, address.is_ipv4()) {
        (Scope::Public, true) => &mut addresses.public_ipv4,
        (Scope::Public, false) => &mut addresses.public_ipv6,
        (Scope::Private, true) => &mut addresses.private_ipv4,
        (Scope::Private, false) => &mut addresses.private_ipv6,
    };
    *slot = Some(address.to_string());
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(read::<Ipv4Addr>(" 10.0.0.7\n"), Ok(Some(Ipv4Addr::new(10, 0, 0, 7))));
        assert_eq!((read::<Ipv4Addr>(""), read::<IpAddr>(" \n")), (Ok(None), Ok(None)));
        assert_eq!(read::<Ipv6Addr>("FD00:0::7"), Ok(Some("fd00::7".parse().unwrap())));
        for text in ["10.0.0.300", "10.0.0.7/8", "fd00::7", "here"] {
            assert_eq!(read::<Ipv4Addr>(text), Err(InvalidAddress), "{text}");
        }
        let mut all = Addresses::default();
        for text in ["10.0.0.7", "fd00::7", "10.0.0.8"] {
            set_address(&mut all, Scope::Private, text.parse().unwrap());
        }
        assert_eq!(
            (all.private_ipv4.as_deref(), all.private_ipv6.as_deref()),
            (Some("10.0.0.8"), Some("fd00::7"))
        );
        assert_eq!((all.public_ipv4, all.public_ipv6), (None, None));
    }
}
