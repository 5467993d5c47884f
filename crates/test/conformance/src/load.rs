//! Load generation from one thread, which shares the cores with the servers.
//!
//! It only measures; targets are part of the rows that define them.

mod closed_loop;
mod figures;
mod growth;
mod plot;
mod probes;
mod requests;
mod sessions;
mod stream;
mod watchers;

pub use closed_loop::{Load, Measured, run};
pub use figures::{Better, Figure, Side, Target, table};
pub use growth::{PANELS, Panel, Point, charts, growth};
pub use plot::{Chart, Line, PlotError, Tone, plot};
pub use probes::{bare_fdatasync, bare_round_trip};
pub use sessions::{Settings, one_member, three_members, three_members_with_tls};
