//! Interface to the simulated store.

use std::ops::Range;
use std::time::Duration;

use fleet_node::Store;

/// The store. Cheap to clone. Created within the simulation's runtime.
pub trait Service: Clone + 'static {
    type Link: Link;
    /// Weight of the store's own faults relative to each other fault.
    const FAULT_WEIGHT: u32;

    /// The link of a machine.
    fn link(&self, machine: usize) -> Self::Link;

    /// Makes the store unreachable for all machines.
    fn set_down(&self, down: bool);

    /// Injects a random fault of the store until [`Service::heal`]. Returns its description for the log.
    fn inject_fault(&self, rng: &mut fastrand::Rng) -> String;

    fn heal(&self);

    /// All keys of the registry with their values, also while the store is unreachable.
    fn all_keys(&self) -> Vec<(String, String)>;
}

/// A machine's link. Shared by clones and [`Link::with_timeout`].
pub trait Link: Store {
    /// The same link with another timeout.
    fn with_timeout(&self, timeout: Duration) -> Self;

    fn set_cut(&self, cut: bool);

    /// Latency each way in milliseconds; `None` for the default.
    fn set_slow(&self, each_way: Option<Range<u64>>);

    /// Stalls open watches while requests succeed, as when the watch is served by a member that hangs.
    fn stall_watches(&self);
}
