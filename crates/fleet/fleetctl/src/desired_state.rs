//! Sets the desired state of units: the common part of load, start, stop, unload and restart.

use std::collections::BTreeMap;

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::failure::Failure;
use crate::lookup::is_global;
use crate::registry::Registry;
use crate::stdout::print;
use crate::wait::{Goal, NO_BLOCK, WaitOptions, wait_for_units};

/// The change that a command requests.
#[derive(Debug, Clone, Copy)]
pub struct StateChange {
    /// As in `Triggered unit hello.service start`.
    pub verb: &'static str,
    pub state: JobState,
    /// Prefix of error messages.
    pub error_prefix: &'static str,
}

/// Hashes of the units whose contents were just replaced, by name.
pub type Replaced = BTreeMap<String, String>;

/// Sets the desired state of all units, then waits for it unless `--no-block` is set. Global units are not awaited.
pub async fn set_desired_state(
    registry: &Registry,
    args: &ParsedArgs,
    change: StateChange,
    units: &[Unit],
    replaced: &Replaced,
) -> Result<(), Failure> {
    let blocking = !args.is_set(NO_BLOCK.name());
    let mut goals = Vec::new();
    for unit in units {
        let name = &unit.name;
        let hash = replaced.get(name);
        let set = unit.desired_state != change.state.as_str() || needs_retry(registry, change, unit).await;
        if set {
            registry
                .set_desired(name, change.state.as_str())
                .await
                .map_err(|error| Failure::new(format!("{}: {error}", change.error_prefix)))?;
        }
        let triggered = set || hash.is_some();
        if is_global(unit) {
            if triggered {
                print(&format!("Triggered global unit {name} {}\n", change.verb))?;
            }
        } else if blocking {
            if triggered || unit.current_state != change.state.as_str() {
                goals.push(Goal { name: name.clone(), state: change.state, hash: hash.cloned() });
            }
        } else if triggered {
            print(&format!("Triggered unit {name} {}\n", change.verb))?;
        }
    }
    wait_for_units(registry, goals, WaitOptions::from_args(args)).await
}

/// A launched unit that failed, or that its machine refused to start, is started again by writing the same state.
async fn needs_retry(registry: &Registry, change: StateChange, unit: &Unit) -> bool {
    if change.state != JobState::Launched || unit.desired_state != JobState::Launched.as_str() {
        return false;
    }
    match registry.states_of(&unit.name).await {
        Ok(states) => {
            states.iter().any(|state| state.systemd_active_state == "failed" || state.refusal.is_some())
        }
        Err(_) => false,
    }
}
