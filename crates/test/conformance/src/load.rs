//! Load on servers, from one thread: it shares the cores with them, so what it takes they cannot have.
//!
//! It measures and never judges; what a figure has to reach stands with the row that asks for it.

mod closed_loop;
mod figures;
mod growth;
mod plot;
mod probes;
mod requests;
mod sessions;
mod watchers;

pub use closed_loop::{Load, Measured, run};
pub use figures::{Better, Figure, Side, Target, table};
pub use growth::{PANELS, Panel, Point, charts, growth};
pub use plot::{Chart, Line, PlotError, Tone, plot};
pub use probes::{bare_fdatasync, bare_round_trip};
pub use sessions::{Settings, one_member, three_members};
