//! Append requests from a leader. A response never acknowledges an entry that is not durable.

use std::pin::pin;

use openraft::RaftState;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::oneshot;

use crate::raft_types::{LogId, Types, Vote};
use crate::storage::state_machine::Raft;

/// Passes a request to raft and returns its response.
///
/// openraft answers a heartbeat only after all earlier entries are flushed, but its leader waits for the response
/// only until the next heartbeat. With a slow disk the leader would lose its lease and reject writes. Therefore a
/// request without entries is answered as soon as raft has processed it, if the entry that it matches is durable: the
/// response claims nothing more.
pub async fn handle(
    raft: &Raft,
    request: AppendEntriesRequest<Types>,
) -> Result<AppendEntriesResponse<Types>, String> {
    if !request.entries.is_empty() {
        return raft.append_entries(request).await.map_err(|error| error.to_string());
    }
    let (vote, matching) = (request.vote, request.prev_log_id);
    let mut pending = pin!(raft.append_entries(request));
    // Raft processes requests in order: once it reports its state, it has processed this request.
    let processed = is_processed(raft, vote);
    tokio::select! {
        // A rejection is not delayed by a flush and is ready before the state.
        biased;
        response = &mut pending => return response.map_err(|error| error.to_string()),
        processed = processed => {
            if processed? && is_on_disk(raft, vote, matching) {
                return Ok(AppendEntriesResponse::Success);
            }
        }
    }
    pending.await.map_err(|error| error.to_string())
}

/// Whether raft has adopted the vote.
async fn is_processed(raft: &Raft, vote: Vote) -> Result<bool, String> {
    let (sender, is_current) = oneshot::channel();
    // If the response came first, the receiver is gone; `with_raft_state` would log an error.
    let report = move |state: &RaftState<Types>| {
        sender.send(*state.vote_ref() == vote).ok();
    };
    raft.external_request(report).await.map_err(|error| error.to_string())?;
    is_current.await.map_err(|error| error.to_string())
}

/// Whether the log is durable up to `matching`, as written by the leader of `vote`.
fn is_on_disk(raft: &Raft, vote: Vote, matching: Option<LogId>) -> bool {
    let flushed = raft.watch_log_progress().get();
    flushed.is_some_and(|flushed| flushed.vote == vote && flushed.last_log_id >= matching)
}
