//! Histories of operations on keys, and the proof that they are linearizable, or the shortest part that is not.
//!
//! The checker never guesses: an operation whose answer did not come may have happened at any later time, or
//! never. What it could not decide within its limit is said to be undecided, not good.

mod checker;
mod follower;
mod ledger;
mod operation;
mod recorder;
mod shorten;

pub use checker::{Verdict, check};
pub use follower::{Follower, Seen, check_seen};
pub use ledger::{Ledger, Written, check_ledger, longest_gap};
pub use operation::{Action, Operation, Outcome};
pub use recorder::{Recording, record};
