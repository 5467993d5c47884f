//! Histories of operations on keys, and a check that they are linearizable; a violation is reduced to a short
//! history.
//!
//! The checker never guesses: an operation without a response may take effect at any later time, or never. A
//! history that exceeds the search limit is undecided, not accepted.

mod checker;
mod follower;
mod ledger;
mod operation;
mod recorder;
mod shorten;

pub use checker::{Verdict, check};
pub use follower::{Follower, WatchEvent, check_events};
pub use ledger::{Ledger, Written, check_ledger, longest_gap};
pub use operation::{Action, Operation, Outcome};
pub use recorder::{Recording, record};
