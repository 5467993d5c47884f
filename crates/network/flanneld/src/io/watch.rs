//! Reports every change of the leases, across failures of the store.

use flannel_core::{Lease, RETRY};
use ipnet::Ipv4Net;
use tokio::sync::mpsc::Sender;

use crate::io::lease_store::{Found, LeaseStore, RequestError, Snapshot, found, subnet_of};

/// A report of the store.
#[derive(Debug)]
pub enum LeaseEvent {
    /// All leases: at first, and after the store's history was cleared.
    All(Snapshot),
    /// One key changed.
    Changed { subnet: Ipv4Net, found: Found, index: u64 },
    /// Changes cannot be received, and why; what is known remains in force.
    Unavailable(String),
}

/// Sends reports until the receiver is closed.
pub async fn watch(store: LeaseStore, events: Sender<LeaseEvent>) {
    let mut reported = false;
    loop {
        let snapshot = match store.leases().await {
            Ok(snapshot) => snapshot,
            Err(error) => {
                if !report(&events, &mut reported, &error).await {
                    return;
                }
                continue;
            }
        };
        let mut watcher = store.watch(snapshot.index);
        if events.send(LeaseEvent::All(snapshot)).await.is_err() {
            return;
        }
        reported = false;
        loop {
            match watcher.next().await {
                Ok(response) => {
                    reported = false;
                    let Some(event) = event(&response) else { continue };
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                Err(error) if error.cleared_history().is_some() => {
                    tracing::info!("the store's history was cleared: reading all leases");
                    break;
                }
                Err(error) => {
                    if !report(&events, &mut reported, &error.into()).await {
                        return;
                    }
                }
            }
        }
    }
}

/// Reports the first of several failures and pauses; false if nobody receives.
async fn report(events: &Sender<LeaseEvent>, reported: &mut bool, error: &RequestError) -> bool {
    if !*reported && events.send(LeaseEvent::Unavailable(error.to_string())).await.is_err() {
        return false;
    }
    *reported = true;
    tokio::time::sleep(RETRY).await;
    !events.is_closed()
}

/// The event of a subnet's key; none for other keys.
fn event(response: &etcd_client::Response) -> Option<LeaseEvent> {
    let node = response.node();
    let Some(subnet) = subnet_of(&node.key) else {
        tracing::warn!("ignoring {}: it is not the key of a subnet", node.key);
        return None;
    };
    let removed = matches!(response.event.action.as_str(), "delete" | "expire" | "compareAndDelete");
    let found = if removed { Found::Absent } else { found(&node) };
    Some(LeaseEvent::Changed { subnet, found, index: node.modified_index })
}

/// The lease in a report.
impl Found {
    pub fn lease(self) -> Option<Lease> {
        match self {
            Found::Lease(lease) => Some(lease),
            Found::Absent | Found::Invalid { .. } => None,
        }
    }
}
