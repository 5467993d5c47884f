//! The life of one fleetd: follows the registry, keeps its machine's presence, runs what belongs on the machine,
//! schedules where it leads, and stops units in time where it is cut off.
//!
//! [`Node`] puts the parts together. What they do is decided by `fleet-core`; this crate waits, asks, writes and
//! tells, over a [`Store`], [`Hands`] and [`Peers`] that are arguments, as the clock is: tests run whole clusters
//! in one thread, without time passing.

mod agent;
mod allowance;
mod alone;
mod backoff;
mod contact;
mod engine;
mod etcd_store;
mod fence;
mod follow;
mod hands;
mod known;
mod limits;
mod metrics;
mod node;
mod presence;
mod requests;
mod settings;
mod store;
mod words;

pub use agent::RememberUnits;
pub use alone::{Alone, keep_fence};
pub use contact::{Contact, Fence, Standing};
pub use etcd_store::EtcdStore;
pub use hands::{Hands, HandsChange, HandsError, Peer, Peers, Reread, SystemdState};
pub use known::Known;
pub use metrics::Metrics;
pub use node::{Answerer, Node, World};
pub use requests::Requests;
pub use settings::{Chance, Clock, Memory, Settings};
pub use store::{Change, Only, Reading, Store, StoreError, Stored, Watch};
