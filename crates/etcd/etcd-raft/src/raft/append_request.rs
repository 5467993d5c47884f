//! A leader's append requests. An answer must never claim an entry that is not on this disk yet.

use std::pin::pin;

use openraft::RaftState;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::sync::oneshot;

use crate::raft_types::{LogId, Types, Vote};
use crate::storage::state_machine::Raft;

/// Gives a request to raft and returns its answer.
///
/// openraft's answer to a heartbeat waits until all that came before it is on disk, and its leader gives a heartbeat no
/// longer than until the next one. A disk that takes longer than that to flush would cost the leader its lease, and
/// with it each write would be refused that comes meanwhile. So a request without entries is answered as soon as raft
/// has heard it, if what it says to match is on disk: that is all that the answer claims.
pub async fn handle(
    raft: &Raft,
    request: AppendEntriesRequest<Types>,
) -> Result<AppendEntriesResponse<Types>, String> {
    if !request.entries.is_empty() {
        return raft.append_entries(request).await.map_err(|error| error.to_string());
    }
    let (vote, matching) = (request.vote, request.prev_log_id);
    let mut pending = pin!(raft.append_entries(request));
    // Raft handles one after the other: when it shows its state, it has heard the request.
    let processed = is_processed(raft, vote);
    tokio::select! {
        // A refusal waits for nothing: it is there before the state is.
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

/// Whether this is raft's vote by now.
async fn is_processed(raft: &Raft, vote: Vote) -> Result<bool, String> {
    let (sender, is_current) = oneshot::channel();
    // Nobody listens any more where the answer was there first: `with_raft_state` would log an error.
    let report = move |state: &RaftState<Types>| {
        sender.send(*state.vote_ref() == vote).ok();
    };
    raft.external_request(report).await.map_err(|error| error.to_string())?;
    is_current.await.map_err(|error| error.to_string())
}

/// Whether the log is flushed up to `matching`, as the leader of `vote` wrote it.
fn is_on_disk(raft: &Raft, vote: Vote, matching: Option<LogId>) -> bool {
    let flushed = raft.watch_log_progress().get();
    flushed.is_some_and(|flushed| flushed.vote == vote && flushed.last_log_id >= matching)
}
