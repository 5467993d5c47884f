//! What a history needs of its store.

use std::ops::Range;
use std::time::Duration;

use fleet_node::Store;

/// The store as a whole. Cheap to clone. Made inside of the runtime that it lives in.
pub trait Service: Clone + 'static {
    type Link: Link;
    /// How many times as often as another trouble it has a fault of its own.
    const FAULT_WEIGHT: u32;

    /// The way of the machine of that number to it.
    fn link(&self, machine: usize) -> Self::Link;

    /// Nobody reaches it.
    fn set_down(&self, down: bool);

    /// One of the faults of its own, by chance; what it is, for the story. The next [`Service::heal`] ends it.
    fn inject_fault(&self, rng: &mut fastrand::Rng) -> String;

    fn heal(&self);

    /// All keys of the registry and their values, whoever could read them now.
    fn all_keys(&self) -> Vec<(String, String)>;
}

/// One machine's way to the store. Clones and [`Link::with_timeout`] share it.
pub trait Link: Store {
    /// The same way, for requests that wait longer.
    fn with_timeout(&self, timeout: Duration) -> Self;

    fn set_cut(&self, cut: bool);

    /// How long each direction takes, in milliseconds; `None`: as fast as usual.
    fn set_slow(&self, each_way: Option<Range<u64>>);

    /// As where the member that a watch is at hangs, and requests go to another one: open watches never end.
    fn stall_watches(&self);
}
