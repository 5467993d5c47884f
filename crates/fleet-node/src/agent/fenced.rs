//! Stops units while the fence is up, whatever passes do meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::JobState;
use tokio::task::JoinSet;
use tokio::time::sleep;
use unit_file::UnitName;

use crate::agent::Agent;
use crate::contact::Fence;
use crate::hands::Hands;
use crate::store::Store;

/// Between two looks at units that something else was done with when they were to be stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Never ends.
pub async fn keep_fenced<S: Store, H: Hands>(agent: Agent<S, H>) {
    let mut standing = agent.contact.follow();
    let mut tasks = JoinSet::new();
    // Their stop jobs run; those of them that were killed.
    let (mut stopping, mut killed) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let fence = agent.contact.standing().fence;
        let mut left = false;
        if fence >= Fence::Stop {
            for name in running(&agent) {
                if stopping.contains(&name) {
                    continue;
                }
                if agent.there.begin(&name) {
                    stopping.insert(name.clone());
                    tasks.spawn(stop(agent.clone(), name));
                } else {
                    left = true;
                }
            }
        }
        if fence == Fence::Kill {
            for name in stopping.difference(&killed).cloned().collect::<Vec<UnitName>>() {
                if let Err(error) = agent.hands.kill(&name).await {
                    tracing::error!("Failed to kill Unit({name}): {error}");
                    left = true;
                } else {
                    killed.insert(name);
                }
            }
        }
        tokio::select! {
            // The sender is the agent's own.
            changed = standing.changed() => debug_assert!(changed.is_ok()),
            Some(Ok(name)) = tasks.join_next() => {
                stopping.remove(&name);
                killed.remove(&name);
            }
            () = sleep(LOOK_AGAIN), if left => {}
        }
    }
}

/// What may run of what others could take over; of adopted units that is not known.
fn running<S: Store, H: Hands>(agent: &Agent<S, H>) -> Vec<UnitName> {
    let takeable = agent.takeable().into_iter();
    takeable.filter(|name| agent.there.state(name).is_some_and(|state| state != JobState::Loaded)).collect()
}

async fn stop<S: Store, H: Hands>(agent: Agent<S, H>, name: UnitName) -> UnitName {
    match agent.hands.stop(&name).await {
        Ok(()) => agent.there.set_state(&name, JobState::Loaded),
        Err(error) => tracing::error!("Failed to stop Unit({name}): {error}"),
    }
    agent.there.end(&name);
    name
}
