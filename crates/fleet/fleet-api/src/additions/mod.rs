//! Extensions of the API. They are below [`PREFIX`] and change no path of the original. A server without them
//! responds with 404, and fleetctl falls back to what the original supports.
//!
//! | request | response |
//! |---|---|
//! | `GET /units?name=A&name=B` | [`crate::UnitPage`]: the existing ones of the named units, by name |
//! | `GET /units/NAME/explanation` | [`Explanation`]: why the unit is where it is |
//! | `POST /plan` with [`PlanRequest`] | [`Plan`]: a dry run |
//! | `POST /rebalance` with [`RebalanceRequest`] | [`Plan`]: the moves that were started, or with `dryRun` that would be |
//! | `PUT /machines/ID/cordon` with [`CordonRequest`] | 204; 404 `machine does not exist` |
//! | `GET /units/NAME/status[?machineID=ID]` | [`StatusReport`]: of each machine that has the unit |
//! | `GET /units/NAME/journal?lines=N[&follow=true][&output=MODE][&machineID=ID]` | 200, streamed text |
//!
//! Errors are the original's documents; an unknown unit is 404 `unit does not exist`, a unit without a machine 409.
//!
//! The original's responses have three more fields, omitted if empty: [`crate::Unit::scheduling_message`],
//! [`crate::UnitState::refusal`] and [`crate::Machine::cordon`]. A `PUT` of `launched` to a launched unit restarts it
//! if systemd reports it as `failed`.

mod cordon;
mod explanation;
mod plan;
mod refusal;
mod status;

pub use cordon::{Cordon, CordonRequest};
pub use explanation::{Explanation, Verdict};
pub use plan::{Plan, PlanRequest, RebalanceRequest, Step};
pub use refusal::{Refusal, RefusalScope, RefusedStep};
pub use status::{MachineStatus, StatusReport};

/// Prefix of all extensions.
pub const PREFIX: &str = "/keelson/v1";
