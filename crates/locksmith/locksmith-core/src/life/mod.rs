//! The life of one locksmithd: what happened goes in, what is to be done comes out.
//!
//! At most one thing is under way at a time, and each ends with one event. A machine that comes out of a reboot first
//! *settles*: once it is healthy it takes its units back and gives the lock back, in this order. When a reboot is
//! needed it waits for the window, asks who inhibits a reboot, takes the lock, looks at the window again, moves its
//! units away, warns who is logged in, and reboots. Whatever speaks against it on the way leads all the way back.

mod machine;
#[cfg(test)]
mod tests;
mod words;

pub use machine::Life;
pub use words::{Acquired, Action, Event, Exit, Level, NotLocked, Now, Rules};
