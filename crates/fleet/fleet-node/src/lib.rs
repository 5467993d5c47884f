//! The life of one fleetd: follows the registry, keeps its machine's presence, runs what belongs on the machine,
//! schedules where it leads, and stops units in time where it is cut off.
//!
//! [`Node`] puts the parts together. What they do is decided by `fleet-core`; this crate waits, asks, writes and
//! tells, over a [`Store`], [`UnitManager`] and [`Peers`] that are arguments, as the clock is: tests run whole clusters
//! in one thread, without time passing.

mod agent;
mod backoff;
mod engine;
mod etcd_store;
mod fence;
mod limits;
mod metrics;
mod node;
mod presence;
mod publisher;
mod rate_limiter;
mod registry_cache;
mod registry_sync;
mod requests;
mod settings;
mod standalone_fence;
mod store;
mod store_link;
mod unit_manager;

pub use agent::SaveUnits;
pub use etcd_store::EtcdStore;
pub use metrics::Metrics;
pub use node::{Environment, Node, PeerResponder};
pub use registry_cache::RegistryCache;
pub use requests::Requests;
pub use settings::{Clock, Jitter, SavedState, Settings};
pub use standalone_fence::{StandaloneFence, run_standalone_fence};
pub use store::{Change, Precondition, Snapshot, Store, StoreError, StoredValue, Watch};
pub use store_link::{Fence, LinkState, StoreLink};
pub use unit_manager::{
    NeedDaemonReload, Peer, Peers, SystemdState, UnitManager, UnitManagerError, UnitManagerEvent,
};
