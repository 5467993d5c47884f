//! The host's own lease while the daemon runs: renewed, lost, created again, or held by another host.

use std::{fmt, net::Ipv4Addr, time::Duration};

use crate::{
    lease::{Lease, LeaseAttributes},
    limits::{CONFLICT_RECHECK, RENEW_INTERVAL, RENEW_RETRY, RETRY},
};

/// State machine of a lease after it was acquired. Times are of a clock that only advances, such as the time since
/// the boot: the wall clocks of host and store may differ by any amount.
#[derive(Debug)]
pub struct OwnLease {
    lease: Lease,
    margin: Duration,
    state: State,
}

/// Whether the lease is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The key has the host's value. A reservation needs no renewal.
    Held { renew_at: Option<Duration> },
    /// The key has the host's address, and another value: it is written soon.
    Altered { write_at: Duration },
    /// The key was removed or has expired: it is created again, so that containers keep their addresses.
    Lost { create_at: Duration },
    /// Another host has the subnet.
    Conflict { holder: Ipv4Addr, read_at: Duration },
}

/// A request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseRequest {
    /// Replace the value if the last write of the key has this index; without a TTL for a reservation.
    Write {
        /// The condition.
        modified_index: u64,
        /// Whether the key gets a TTL.
        expires: bool,
    },
    /// Create the key if there is none.
    Create,
    /// Read the key.
    Read,
}

/// What the store has at the key.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs)]
pub enum KeyState<'a> {
    Absent,
    Lease(&'a Lease),
    /// A value that is no lease.
    Invalid {
        modified_index: u64,
    },
}

/// A change of the state, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum LeaseNotice {
    Renewed { ttl: Option<Duration> },
    Altered,
    Lost,
    Conflict { holder: Ipv4Addr },
}

impl fmt::Display for LeaseNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeaseNotice::Renewed { ttl: Some(ttl) } => {
                write!(f, "Lease renewed, expires in {} s", ttl.as_secs())
            }
            LeaseNotice::Renewed { ttl: None } => {
                f.write_str("The lease is a reservation: it does not expire")
            }
            LeaseNotice::Altered => {
                f.write_str("The lease was overwritten by another program, writing it again")
            }
            LeaseNotice::Lost => f.write_str("Lease has been revoked, creating it again"),
            LeaseNotice::Conflict { holder } => write!(
                f,
                "Lease has been revoked, and {holder} has the subnet now: containers of this host are not reachable \
                 from others until that lease ends, or this host leases another subnet"
            ),
        }
    }
}

impl OwnLease {
    /// A lease just acquired; `margin` is the time before its end at which it is renewed at the latest.
    pub fn new(lease: Lease, margin: Duration, now: Duration) -> OwnLease {
        let renew_at = lease.ttl.map(|ttl| now + latest_renewal(ttl, margin));
        OwnLease { lease, margin, state: State::Held { renew_at } }
    }

    /// The lease as it was last known to be held.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The value of the key.
    pub fn attributes(&self) -> &LeaseAttributes {
        &self.lease.attributes
    }

    /// The host that has the subnet instead.
    pub fn conflict(&self) -> Option<Ipv4Addr> {
        match self.state {
            State::Conflict { holder, .. } => Some(holder),
            _ => None,
        }
    }

    /// The next request and its time; none while nothing is due before an event.
    pub fn next(&self) -> Option<(Duration, LeaseRequest)> {
        let write = LeaseRequest::Write {
            modified_index: self.lease.modified_index,
            expires: self.lease.ttl.is_some(),
        };
        match self.state {
            State::Held { renew_at } => renew_at.map(|at| (at, write)),
            State::Altered { write_at } => Some((write_at, write)),
            State::Lost { create_at } => Some((create_at, LeaseRequest::Create)),
            State::Conflict { read_at, .. } => Some((read_at, LeaseRequest::Read)),
        }
    }

    /// The key was written by this host.
    pub fn written(&mut self, modified_index: u64, ttl: Option<Duration>, now: Duration) -> LeaseNotice {
        self.lease.modified_index = modified_index;
        self.lease.ttl = ttl;
        self.hold(now);
        LeaseNotice::Renewed { ttl }
    }

    /// The request of [`OwnLease::next`] failed for a reason that says nothing of the key. Returns the pause.
    pub fn failed(&mut self, now: Duration) -> Duration {
        let (at, pause) = match &mut self.state {
            State::Held { renew_at } => (renew_at.get_or_insert(now), RENEW_RETRY),
            State::Altered { write_at: at } | State::Lost { create_at: at } => (at, RETRY),
            State::Conflict { read_at, .. } => (read_at, CONFLICT_RECHECK),
        };
        *at = now + pause;
        pause
    }

    /// The key as the store has it at `index`, from a watch or a read. Older reports than what is known have no effect.
    pub fn observed(&mut self, found: KeyState<'_>, index: u64, now: Duration) -> Option<LeaseNotice> {
        if index < self.lease.modified_index {
            return None;
        }
        match found {
            KeyState::Absent => {
                let notice = !matches!(self.state, State::Lost { .. });
                self.state = State::Lost { create_at: now };
                notice.then_some(LeaseNotice::Lost)
            }
            KeyState::Invalid { modified_index } => Some(self.alter(modified_index, now)),
            KeyState::Lease(found) => self.observed_lease(found, now),
        }
    }

    fn observed_lease(&mut self, found: &Lease, now: Duration) -> Option<LeaseNotice> {
        let own = &self.lease.attributes;
        if found.attributes.public_ip != own.public_ip || own.is_of_another_device(&found.attributes) {
            let holder = found.attributes.public_ip;
            let notice = self.conflict() != Some(holder);
            self.state = State::Conflict { holder, read_at: now + CONFLICT_RECHECK };
            return notice.then_some(LeaseNotice::Conflict { holder });
        }
        if found.modified_index == self.lease.modified_index && matches!(self.state, State::Held { .. }) {
            return None;
        }
        let same = found.attributes == *own;
        self.lease.ttl = found.ttl;
        if !same {
            return Some(self.alter(found.modified_index, now));
        }
        self.lease.modified_index = found.modified_index;
        self.hold(now);
        None
    }

    fn alter(&mut self, modified_index: u64, now: Duration) -> LeaseNotice {
        self.lease.modified_index = modified_index;
        self.state = State::Altered { write_at: now };
        LeaseNotice::Altered
    }

    fn hold(&mut self, now: Duration) {
        let renewal = |ttl| now + RENEW_INTERVAL.min(latest_renewal(ttl, self.margin));
        self.state = State::Held { renew_at: self.lease.ttl.map(renewal) };
    }
}

/// Until when a lease of this TTL is renewed, so that a store that is unavailable for two thirds of it does no harm.
fn latest_renewal(ttl: Duration, margin: Duration) -> Duration {
    ttl.saturating_sub(margin).min(ttl / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

    fn lease(host: Ipv4Addr, ttl: Option<Duration>, modified_index: u64) -> Lease {
        let attributes = LeaseAttributes::plain(host, "host-gw");
        Lease { subnet: "10.1.4.0/24".parse().unwrap(), attributes, ttl, modified_index }
    }

    fn own(ttl: Option<Duration>) -> OwnLease {
        OwnLease::new(lease(OWN, ttl, 5), HOUR, Duration::ZERO)
    }

    fn write(modified_index: u64, expires: bool) -> LeaseRequest {
        LeaseRequest::Write { modified_index, expires }
    }

    #[test]
    fn renewals() {
        let mut own = own(Some(24 * HOUR));
        assert_eq!(own.next(), Some((8 * HOUR, write(5, true))));
        own.failed(8 * HOUR);
        assert_eq!(own.next(), Some((8 * HOUR + RENEW_RETRY, write(5, true))));
        own.written(9, Some(24 * HOUR), 9 * HOUR);
        assert_eq!(own.next(), Some((10 * HOUR, write(9, true))));
        // The watch reports the own write.
        assert_eq!(own.observed(KeyState::Lease(&lease(OWN, Some(24 * HOUR), 9)), 9, 9 * HOUR), None);
        assert_eq!(own.next(), Some((10 * HOUR, write(9, true))));
    }

    #[test]
    fn the_margin_is_kept() {
        let own = OwnLease::new(lease(OWN, Some(24 * HOUR), 5), 23 * HOUR, Duration::ZERO);
        assert_eq!(own.next(), Some((HOUR, write(5, true))));
    }

    #[test]
    fn a_reservation_is_not_renewed() {
        let mut own = own(None);
        assert_eq!(own.next(), None);
        // An operator gives it a TTL again.
        own.observed(KeyState::Lease(&lease(OWN, Some(HOUR), 6)), 6, Duration::ZERO);
        assert_eq!(own.next(), Some((Duration::ZERO, write(6, true))));
    }

    #[test]
    fn a_lost_lease_is_created_again() {
        let mut own = own(Some(24 * HOUR));
        assert_eq!(own.observed(KeyState::Absent, 7, HOUR), Some(LeaseNotice::Lost));
        assert_eq!(own.next(), Some((HOUR, LeaseRequest::Create)));
        own.failed(HOUR);
        assert_eq!(own.next(), Some((HOUR + RETRY, LeaseRequest::Create)));
        own.written(8, Some(24 * HOUR), HOUR);
        // A late report of the removal.
        assert_eq!(own.observed(KeyState::Absent, 7, HOUR), None);
        assert_eq!(own.next(), Some((2 * HOUR, write(8, true))));
    }

    #[test]
    fn a_conflict_ends_with_the_other_lease() {
        let mut own = own(Some(24 * HOUR));
        let other = lease(OTHER, Some(HOUR), 8);
        assert_eq!(
            own.observed(KeyState::Lease(&other), 8, HOUR),
            Some(LeaseNotice::Conflict { holder: OTHER })
        );
        assert_eq!(own.conflict(), Some(OTHER));
        assert_eq!(own.observed(KeyState::Lease(&other), 8, HOUR), None);
        assert_eq!(own.next(), Some((HOUR + CONFLICT_RECHECK, LeaseRequest::Read)));
        assert_eq!(own.observed(KeyState::Absent, 9, 2 * HOUR), Some(LeaseNotice::Lost));
        assert_eq!(own.next(), Some((2 * HOUR, LeaseRequest::Create)));
    }

    #[test]
    fn an_overwritten_value_is_written_again() {
        let mut own = own(Some(24 * HOUR));
        let mut reservation = lease(OWN, None, 8);
        reservation.attributes.backend_type.clear();
        assert_eq!(own.observed(KeyState::Lease(&reservation), 8, HOUR), Some(LeaseNotice::Altered));
        assert_eq!(own.next(), Some((HOUR, write(8, false))));
        let invalid = KeyState::Invalid { modified_index: 9 };
        assert_eq!(own.observed(invalid, 9, HOUR), Some(LeaseNotice::Altered));
        assert_eq!(own.next(), Some((HOUR, write(9, false))));
    }
}
