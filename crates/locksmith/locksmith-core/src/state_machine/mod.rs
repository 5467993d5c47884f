//! The daemon as a state machine: events in, actions out.
//!
//! At most one asynchronous action runs at a time, and each completes with one event. After a boot the machine
//! *settles*: once healthy it takes its units back and then releases the lock. To reboot it waits for the
//! window, checks inhibitors, acquires the lock, checks the window again, drains its units, warns logged-in
//! users and requests the reboot. Anything that prevents the reboot rolls all of this back.

mod events;
#[cfg(test)]
mod exploration;
mod machine;
mod reboot;
mod rollback;
mod settling;
mod state;
#[cfg(test)]
mod tests;
mod texts;
mod transition;

pub use events::{Acquired, Action, Clocks, Config, Event, Exit, Level, LockFailure};
pub use machine::StateMachine;
