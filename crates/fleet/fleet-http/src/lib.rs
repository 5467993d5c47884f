//! The cluster manager's HTTP API over any [`Backend`]: requests to calls, and what came of them to the bytes that
//! clients know.
//!
//! It must never decide what the scheduler or the store decides, never answer a change before the back end did, and
//! never let one client hold more than the limits give it.

mod additions;
mod answer;
mod backend;
mod body;
mod front;
mod journal;
mod limits;
mod listener;
mod machines;
mod original;
mod payload;
mod program;
mod put;
mod request;
mod route;
mod serve;
mod settings;
mod states;
mod status;
mod stop;
mod stream;
mod units;
mod wire;

pub use backend::{Backend, Failure};
pub use listener::Listener;
pub use serve::serve;
pub use settings::{Programs, Settings};
