//! Asking for a state, and what is said about it: what load, start, stop and unload have in common.

use std::collections::BTreeMap;

use command_line::ParsedArgs;
use fleet_api::{JobState, Unit};

use crate::failure::Failure;
use crate::lookup::is_global;
use crate::registry::Registry;
use crate::stdout::say;
use crate::wait::{Goal, NO_BLOCK, Patience, until};

/// What a command asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// As in `Triggered unit hello.service start`.
    pub verb: &'static str,
    pub state: JobState,
    /// What an error begins with.
    pub failing: &'static str,
}

/// Units whose text was just replaced, each with its new hash.
pub type Replaced = BTreeMap<String, String>;

/// Asks for the state of all, then waits for those that are to be waited for.
pub async fn bring(
    registry: &Registry,
    given: &ParsedArgs,
    asked: Asked,
    units: &[Unit],
    replaced: &Replaced,
) -> Result<(), Failure> {
    let blocking = !given.is_set(NO_BLOCK.name());
    let mut goals = Vec::new();
    for unit in units {
        let name = &unit.name;
        let hash = replaced.get(name);
        let set = unit.desired_state != asked.state.as_str() || needs_a_push(registry, asked, unit).await;
        if set {
            registry
                .set_desired(name, asked.state.as_str())
                .await
                .map_err(|error| Failure::new(format!("{}: {error}", asked.failing)))?;
        }
        let triggered = set || hash.is_some();
        if is_global(unit) {
            if triggered {
                say(&format!("Triggered global unit {name} {}\n", asked.verb))?;
            }
        } else if blocking {
            if triggered || unit.current_state != asked.state.as_str() {
                goals.push(Goal { name: name.clone(), state: asked.state, hash: hash.cloned() });
            }
        } else if triggered {
            say(&format!("Triggered unit {name} {}\n", asked.verb))?;
        }
    }
    until(registry, goals, Patience::of(given)).await
}

/// A unit that was started and has failed since, or could not be started, is started again when that is asked for.
async fn needs_a_push(registry: &Registry, asked: Asked, unit: &Unit) -> bool {
    if asked.state != JobState::Launched || unit.desired_state != JobState::Launched.as_str() {
        return false;
    }
    match registry.states_of(&unit.name).await {
        Ok(states) => {
            states.iter().any(|state| state.systemd_active_state == "failed" || state.refusal.is_some())
        }
        Err(_) => false,
    }
}
