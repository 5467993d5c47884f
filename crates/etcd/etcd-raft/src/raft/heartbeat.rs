//! Heartbeats of a leader, instead of openraft's own.
//!
//! openraft looks at its timers several times per heartbeat interval, on every member. A leader needs none of its
//! timers but the heartbeat, and a member without followers not even that, so its timers are off while it leads.

use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use crate::storage::state_machine::Raft;
use crate::time::ticks::Ticks;

/// Sends heartbeats while this member leads others, until it stops.
pub async fn send(raft: Raft, interval: Duration, ticks: Ticks) {
    let mut metrics = raft.server_metrics();
    loop {
        let (leads, alone) = {
            let metrics = metrics.borrow_watched();
            let leads = metrics.state == ServerState::Leader;
            (leads, metrics.membership_config.nodes().nth(1).is_none())
        };
        // A member that no longer leads may have to start an election.
        raft.runtime_config().tick(!leads);
        let changed = if !leads || alone {
            metrics.changed().await
        } else {
            if raft.trigger().heartbeat().await.is_err() {
                return;
            }
            tokio::select! {
                changed = metrics.changed() => changed,
                () = tokio::time::sleep_until(ticks.next(interval)) => Ok(()),
            }
        };
        if changed.is_err() {
            return;
        }
    }
}
