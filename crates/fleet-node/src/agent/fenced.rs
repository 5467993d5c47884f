//! Stops units while the fence is up, whatever passes do meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use cluster::JobState;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use tokio::task::JoinSet;
use tokio::time::sleep;
use unit_file::UnitName;

use crate::agent::Agent;
use crate::contact::Fence;
use crate::hands::Hands;
use crate::limits::AT_A_TIME;
use crate::store::Store;

/// Between two looks at units that something else was done with when they were to be stopped, or that were killed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Never ends.
pub async fn keep_fenced<S: Store, H: Hands>(agent: Agent<S, H>) {
    let mut standing = agent.contact.follow();
    let mut tasks = JoinSet::new();
    // Their stop jobs run.
    let mut stopping = BTreeSet::new();
    loop {
        let fence = agent.contact.standing().fence;
        let left: Vec<UnitName> = match fence {
            Fence::Open => Vec::new(),
            Fence::Stop | Fence::Kill => {
                running(&agent).into_iter().filter(|name| !stopping.contains(name)).collect()
            }
        };
        for name in &left {
            // What is being started or stopped already has its turn first.
            if agent.there.begin(name) {
                stopping.insert(name.clone());
                tasks.spawn(stop(agent.clone(), name.clone()));
            }
        }
        if fence == Fence::Kill {
            kill(&agent, running(&agent)).await;
        }
        let look_again = fence == Fence::Kill || !left.is_empty();
        tokio::select! {
            // The sender is the agent's own.
            changed = standing.changed() => debug_assert!(changed.is_ok()),
            Some(Ok(name)) = tasks.join_next() => {
                stopping.remove(&name);
            }
            () = sleep(LOOK_AGAIN), if look_again => {}
        }
    }
}

/// Whoever stops them, and however long that would take.
async fn kill<S: Store, H: Hands>(agent: &Agent<S, H>, names: Vec<UnitName>) {
    iter(names)
        .for_each_concurrent(AT_A_TIME, |name| async move {
            if let Err(error) = agent.hands.kill(&name).await {
                tracing::error!("Failed to kill Unit({name}): {error}");
            }
        })
        .await;
}

/// What may run of what others could take over; of adopted units that is not known.
fn running<S: Store, H: Hands>(agent: &Agent<S, H>) -> Vec<UnitName> {
    let takeable = agent.takeable().into_iter();
    takeable.filter(|name| agent.there.state(name).is_some_and(|state| state != JobState::Loaded)).collect()
}

async fn stop<S: Store, H: Hands>(agent: Agent<S, H>, name: UnitName) -> UnitName {
    agent.will_stop(&name);
    match agent.hands.stop(&name).await {
        Ok(()) => agent.there.set_state(&name, JobState::Loaded),
        Err(error) => tracing::error!("Failed to stop Unit({name}): {error}"),
    }
    agent.there.end(&name);
    name
}
