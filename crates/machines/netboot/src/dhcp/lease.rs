//! Addresses of a lab network (`--dhcp`): which machine gets which, and until when.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::{LEASE_SECONDS, LEASES, OFFER_SECONDS};
use crate::machine::Mac;

/// Addresses from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: u32,
    last: u32,
}

/// Why a range cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum RangeError {
    #[error("expected FIRST-LAST, such as 10.9.0.100-10.9.0.199")]
    Syntax,
    #[error("the first address is after the last")]
    Order,
    #[error("{0} addresses are more than {LEASES}")]
    Size(u64),
    #[error("{address} is not in {network}/{prefix}, the network of the interface")]
    OtherNetwork { address: Ipv4Addr, network: Ipv4Addr, prefix: u32 },
    #[error("{0} is not an address for machines")]
    Reserved(Ipv4Addr),
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (first, last) = text.split_once('-').ok_or(RangeError::Syntax)?;
        let number =
            |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from).map_err(|_| RangeError::Syntax);
        let (first, last) = (number(first)?, number(last)?);
        let size = u64::from(last.checked_sub(first).ok_or(RangeError::Order)?) + 1;
        if size > u64::try_from(LEASES).unwrap_or(u64::MAX) {
            return Err(RangeError::Size(size));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}-{}", Ipv4Addr::from(self.first), Ipv4Addr::from(self.last))
    }
}

impl Range {
    /// The first address.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// The last address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    /// Checks that machines can use all addresses: they are in the network of the interface, which has `address`.
    ///
    /// # Errors
    /// Names the first address that machines cannot use.
    pub fn check(self, address: Ipv4Addr, mask: Ipv4Addr) -> Result<(), RangeError> {
        let (mask, own) = (u32::from(mask), u32::from(address));
        let network = own & mask;
        for end in [self.first, self.last] {
            if end & mask != network {
                let (network, prefix) = (network.into(), mask.count_ones());
                return Err(RangeError::OtherNetwork { address: end.into(), network, prefix });
            }
        }
        let reserved = [network, network | !mask].into_iter().find(|one| self.contains(*one));
        // Of a network of one or two addresses none is reserved.
        match reserved.filter(|_| mask.count_ones() < 31) {
            Some(address) => Err(RangeError::Reserved(address.into())),
            None => Ok(()),
        }
    }

    fn contains(self, address: u32) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

/// An address of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    address: Ipv4Addr,
    /// Unix time in seconds.
    until: u64,
}

/// All leases. Times are Unix times in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    range: Range,
    /// The server's own address.
    own: Ipv4Addr,
    of: BTreeMap<Mac, Lease>,
    /// Addresses that a machine found in use, until when they are avoided.
    declined: BTreeMap<Ipv4Addr, u64>,
}

/// A lease in the file of leases.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    mac: String,
    #[serde(flatten)]
    lease: Lease,
}

impl Leases {
    /// No leases yet.
    #[must_use]
    pub fn new(range: Range, own: Ipv4Addr) -> Self {
        Self { range, own, of: BTreeMap::new(), declined: BTreeMap::new() }
    }

    /// With the leases of an earlier run, without those outside of the range.
    #[must_use]
    pub fn with_records(mut self, records: &[Record]) -> Self {
        for record in records {
            let Ok(mac) = record.mac.parse() else { continue };
            if self.is_usable(record.lease.address, u64::MAX) && self.of.len() < LEASES {
                self.of.insert(mac, record.lease);
            }
        }
        self
    }

    /// For [`Leases::with_records`].
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let record = |(mac, lease): (&Mac, &Lease)| Record { mac: mac.to_string(), lease: *lease };
        self.of.iter().map(record).collect()
    }

    /// Reserves an address: the machine's own, the requested one, a free one, or one whose lease has expired.
    pub fn offer(&mut self, mac: Mac, requested: Option<Ipv4Addr>, now: u64) -> Option<Ipv4Addr> {
        let address = self.find(mac, requested, now)?;
        let until = match self.of.get(&mac) {
            Some(lease) if lease.address == address => lease.until.max(now + OFFER_SECONDS),
            _ => now + OFFER_SECONDS,
        };
        self.take(mac, Lease { address, until });
        Some(address)
    }

    /// Leases the address if the machine may have it.
    pub fn confirm(&mut self, mac: Mac, address: Ipv4Addr, now: u64) -> bool {
        if self.find(mac, Some(address), now) != Some(address) {
            return false;
        }
        self.take(mac, Lease { address, until: now + u64::from(LEASE_SECONDS) });
        true
    }

    /// The machine needs its address no more.
    pub fn release(&mut self, mac: Mac) {
        self.of.remove(&mac);
    }

    /// The machine found its address in use.
    pub fn decline(&mut self, mac: Mac, now: u64) {
        if let Some(lease) = self.of.remove(&mac) {
            self.declined.insert(lease.address, now + u64::from(LEASE_SECONDS));
        }
    }

    fn find(&self, mac: Mac, requested: Option<Ipv4Addr>, now: u64) -> Option<Ipv4Addr> {
        if let Some(lease) = self.of.get(&mac).filter(|lease| self.is_usable(lease.address, now)) {
            return Some(lease.address);
        }
        let holder = |address: Ipv4Addr| self.of.values().find(|lease| lease.address == address);
        let is_free = |address: &Ipv4Addr| self.is_usable(*address, now) && holder(*address).is_none();
        let has_expired = |address: &Ipv4Addr| {
            self.is_usable(*address, now) && holder(*address).is_none_or(|lease| lease.until < now)
        };
        let all = || (self.range.first..=self.range.last).map(Ipv4Addr::from);
        // A machine keeps its address across the server's restarts, also without a record.
        requested.filter(has_expired).or_else(|| all().find(is_free)).or_else(|| all().find(has_expired))
    }

    fn is_usable(&self, address: Ipv4Addr, now: u64) -> bool {
        let declined = self.declined.get(&address).is_some_and(|until| *until >= now);
        self.range.contains(address.into()) && address != self.own && !declined
    }

    fn take(&mut self, mac: Mac, lease: Lease) {
        self.of.retain(|other, held| *other == mac || held.address != lease.address);
        self.of.insert(mac, lease);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> Mac {
        Mac([0x52, 0x54, 0, 0, 0, last])
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, 0, last)
    }

    fn leases(range: &str) -> Leases {
        Leases::new(range.parse().unwrap(), address(1))
    }

    #[test]
    fn ranges() {
        let check = |text: &str, expect: Result<(), RangeError>| {
            let range = text.parse::<Range>();
            let mask = Ipv4Addr::new(255, 255, 255, 0);
            assert_eq!(range.and_then(|range| range.check(address(1), mask)), expect, "{text}");
        };
        let network = address(0);
        check("10.9.0.100-10.9.0.199", Ok(()));
        check("10.9.0.100 - 10.9.0.100", Ok(()));
        check("10.9.0.100", Err(RangeError::Syntax));
        check("10.9.0.100-20", Err(RangeError::Syntax));
        check("10.9.0.100-10.9.0.99", Err(RangeError::Order));
        check("10.0.0.0-10.9.0.99", Err(RangeError::Size(589_924)));
        check("10.9.0.0-10.9.0.9", Err(RangeError::Reserved(address(0))));
        check("10.9.0.9-10.9.0.255", Err(RangeError::Reserved(address(255))));
        let other = Ipv4Addr::new(10, 9, 1, 1);
        check("10.9.0.9-10.9.1.1", Err(RangeError::OtherNetwork { address: other, network, prefix: 24 }));
    }

    #[test]
    fn a_machine_keeps_its_address_and_none_is_given_twice() {
        let mut leases = leases("10.9.0.1-10.9.0.3");
        // The first address is the server's.
        assert_eq!(leases.offer(mac(1), None, 0), Some(address(2)));
        assert_eq!(leases.offer(mac(1), None, 1), Some(address(2)), "the same at a second attempt");
        assert!(leases.confirm(mac(1), address(2), 1));
        assert_eq!(leases.offer(mac(2), Some(address(2)), 2), Some(address(3)));
        assert!(!leases.confirm(mac(2), address(2), 2), "leased to another machine");
        assert!(!leases.confirm(mac(2), Ipv4Addr::new(192, 0, 2, 1), 2), "another network");
        assert!(leases.confirm(mac(2), address(3), 2));
        assert_eq!(leases.offer(mac(3), None, 3), None, "all are leased");
        leases.release(mac(2));
        assert_eq!(leases.offer(mac(3), None, 4), Some(address(3)));
    }

    #[test]
    fn offers_and_leases_expire_and_declined_addresses_are_avoided() {
        let mut leases = leases("10.9.0.2-10.9.0.2");
        assert_eq!(leases.offer(mac(1), None, 0), Some(address(2)));
        assert_eq!(leases.offer(mac(2), None, OFFER_SECONDS), None);
        assert_eq!(leases.offer(mac(2), None, OFFER_SECONDS + 1), Some(address(2)));
        assert!(!leases.confirm(mac(1), address(2), OFFER_SECONDS + 1));
        leases.decline(mac(2), 100);
        assert_eq!(leases.offer(mac(1), None, 101), None);
        assert_eq!(leases.offer(mac(1), None, 101 + u64::from(LEASE_SECONDS)), Some(address(2)));
    }

    #[test]
    fn leases_outlive_a_restart_if_they_are_in_the_range() {
        let mut before = leases("10.9.0.2-10.9.0.9");
        assert!(before.confirm(mac(1), address(5), 0));
        let text = serde_json::to_string(&before.records()).unwrap();
        let records: Vec<Record> = serde_json::from_str(&text).unwrap();
        let mut after = leases("10.9.0.2-10.9.0.9").with_records(&records);
        assert_eq!(after, before);
        assert_eq!(after.offer(mac(1), None, 1), Some(address(5)));
        assert_eq!(leases("10.9.0.2-10.9.0.4").with_records(&records).records().len(), 0);
    }
}
