//! What of the kernel is compared with what is required, and when.

use std::ops::BitOrAssign;

use flannel_network::Changed;
use tokio::time::Instant;

use crate::limits::FULL_COMPARISON;

/// Parts of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The external interface, and flanneld's device.
    pub device: bool,
    /// Routes, neighbors, forwarding entries and peers.
    pub tables: bool,
}

impl Scope {
    pub const ALL: Scope = Scope { device: true, tables: true };
    pub const TABLES: Scope = Scope { device: false, tables: true };

    /// The parts that a change of the kernel may concern.
    pub fn of(changed: Changed) -> Scope {
        // The default route determines the external interface; a device that is set down loses its routes.
        Scope { device: changed.links || changed.addresses || changed.routes, tables: true }
    }
}

impl BitOrAssign for Scope {
    fn bitor_assign(&mut self, other: Scope) {
        self.device |= other.device;
        self.tables |= other.tables;
    }
}

/// The comparisons that are due.
#[derive(Debug)]
pub struct Schedule {
    pending: Option<(Instant, Scope)>,
    full: Instant,
}

impl Schedule {
    /// A whole comparison is due at `now`.
    pub fn new(now: Instant) -> Schedule {
        Schedule { pending: None, full: now }
    }

    /// These parts are due at `at`, or with what is due before.
    pub fn add(&mut self, scope: Scope, at: Instant) {
        match &mut self.pending {
            Some((due, pending)) => {
                *due = at.min(*due);
                *pending |= scope;
            }
            None => self.pending = Some((at, scope)),
        }
    }

    /// When the next comparison is due.
    pub fn due(&self) -> Instant {
        self.pending.map_or(self.full, |(at, _)| at.min(self.full))
    }

    /// The parts of the comparison that is made at `now`.
    pub fn take(&mut self, now: Instant) -> Scope {
        let pending = self.pending.take().map_or(Scope::default(), |(_, scope)| scope);
        let scope = if now >= self.full { Scope::ALL } else { pending };
        if scope == Scope::ALL {
            self.full = now + FULL_COMPARISON;
        }
        scope
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn changes_are_compared_and_everything_at_times() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut schedule = Schedule::new(start);
        assert_eq!((schedule.due(), schedule.take(start)), (start, Scope::ALL));
        assert_eq!(schedule.due(), start + FULL_COMPARISON);
        schedule.add(Scope::TABLES, at(9));
        schedule.add(Scope::TABLES, at(5));
        schedule.add(Scope::TABLES, at(7));
        assert_eq!((schedule.due(), schedule.take(at(5))), (at(5), Scope::TABLES));
        assert_eq!(schedule.due(), start + FULL_COMPARISON);
        // A whole comparison is the next one's start.
        schedule.add(Scope::TABLES, at(20));
        schedule.add(Scope::ALL, at(20));
        assert_eq!(schedule.take(at(20)), Scope::ALL);
        assert_eq!(schedule.due(), at(20) + FULL_COMPARISON);
    }

    #[test]
    fn scopes() {
        let none = Changed::default();
        assert_eq!(Scope::of(Changed { neighbors: true, ..none }), Scope::TABLES);
        for changed in [
            Changed { links: true, ..none },
            Changed { addresses: true, ..none },
            Changed { routes: true, ..none },
        ] {
            assert_eq!(Scope::of(changed), Scope::ALL);
        }
    }
}
