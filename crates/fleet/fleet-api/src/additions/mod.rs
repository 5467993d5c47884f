//! What the original's API has not. All of it stands below [`PREFIX`], so that no path of the original's is touched;
//! a server without it answers 404 there, and fleetctl falls back to what the original could do.
//!
//! | request | answer |
//! |---|---|
//! | `GET /units?name=A&name=B` | [`crate::UnitPage`]: those of the named units that exist, by name |
//! | `GET /units/NAME/explanation` | [`Explanation`]: why the unit is where it is, or nowhere |
//! | `POST /plan` with [`PlanRequest`] | [`Plan`]: what would happen; nothing is changed |
//! | `POST /rebalance` with [`RebalanceRequest`] | [`Plan`]: what was begun, or with `dryRun` what would be |
//! | `PUT /machines/ID/cordon` with [`CordonRequest`] | 204; 404 `machine does not exist` |
//! | `GET /units/NAME/status[?machineID=ID]` | [`StatusReport`]: of each machine that has the unit |
//! | `GET /units/NAME/journal?lines=N[&follow=true][&output=MODE][&machineID=ID]` | 200, the text as it comes |
//!
//! Errors are the original's documents; an unknown unit is 404 `unit does not exist`, one that is on no machine 409.
//!
//! In the original's own answers there are three fields more, left out where they say nothing:
//! [`crate::Unit::scheduling_message`], [`crate::UnitState::refusal`] and [`crate::Machine::cordon`]. A `PUT` of `launched` to a unit that is
//! launched already starts it again on its machine where systemd says `failed` there.

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

/// What all additions' paths begin with.
pub const PREFIX: &str = "/keelson/v1";
