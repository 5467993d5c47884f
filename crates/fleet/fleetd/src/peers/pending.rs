//! Requests that wait for a read of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::message::Nonce;

/// More than the machines of a cluster. Dropped requests are retransmitted.
const MAX: usize = 1024;

/// Pending requests. When there are [`MAX`], the source with most of them loses one to a source with fewer.
#[derive(Default)]
pub struct Pending {
    by_source: BTreeMap<IpAddr, BTreeSet<(SocketAddr, Nonce)>>,
    count: usize,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a request; a retransmission is ignored.
    pub fn add(&mut self, from: SocketAddr, nonce: Nonce) {
        let source = from.ip();
        let own = self.by_source.get(&source);
        if own.is_some_and(|own| own.contains(&(from, nonce))) {
            return;
        }
        let own = own.map_or(0, BTreeSet::len);
        if self.count == MAX {
            let largest = self.by_source.values_mut().max_by_key(|requests| requests.len());
            let Some(largest) = largest.filter(|largest| largest.len() > own + 1) else { return };
            largest.pop_first();
            self.count -= 1;
        }
        self.by_source.entry(source).or_default().insert((from, nonce));
        self.count += 1;
    }

    /// Removes all.
    pub fn take(&mut self) -> impl Iterator<Item = (SocketAddr, Nonce)> + use<> {
        std::mem::take(self).by_source.into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_does_not_crowd_out_others() {
        let mut pending = Pending::default();
        let address = |last: u8, port| SocketAddr::from(([192, 0, 2, last], port));
        for number in 0..5 * MAX as u64 {
            pending.add(address(1, 9), number.to_be_bytes());
        }
        for number in 0..5 * MAX as u64 {
            pending.add(address(2, 9), number.to_be_bytes());
        }
        for last in 3..=250 {
            // Retransmitted.
            (0..3).for_each(|_| pending.add(address(last, 9), [last; 8]));
        }
        let taken: Vec<_> = pending.take().collect();
        assert_eq!((taken.len(), pending.is_empty()), (MAX, true));
        let count = |last: u8| taken.iter().filter(|(from, _)| *from == address(last, 9)).count();
        assert!((3..=250).all(|last| count(last) == 1));
        assert!(count(1).abs_diff(count(2)) <= 1, "{} and {}", count(1), count(2));
    }
}
