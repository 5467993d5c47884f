//! One node of the cluster: follows the registry, maintains the machine's presence, runs its units, schedules while
//! it leads, and stops units in time when it is partitioned.
//!
//! [`Node`] connects the parts. Decisions are in `fleet-core`; this crate does I/O through a [`Store`], a
//! [`UnitManager`], [`Peers`] and a clock that are arguments, so that tests run whole clusters in one thread under
//! virtual time.

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
pub use settings::{Clock, Jitter, SaveState, SavedState, Settings};
pub use standalone_fence::{StandaloneFence, run_standalone_fence};
pub use store::{Change, Precondition, Snapshot, Store, StoreError, StoredValue, Watch};
pub use store_link::{Fence, LinkState, StoreLink};
pub use unit_manager::{
    NeedDaemonReload, Peer, Peers, SystemdState, UnitManager, UnitManagerError, UnitManagerEvent,
};
