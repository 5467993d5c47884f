//! Events for subscribers. Signals only select the units to query: reported states are systemd's replies.

use futures_util::future::try_join_all;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;
use unit_file::UnitName;

use crate::error::Error;
use crate::limits::{COALESCE_INTERVAL, EVENT_BUFFER, RECONNECT_INTERVAL};
use crate::session::Session;
use crate::state::SystemdState;
use crate::supported::is_supported;
use crate::units::Units;
use crate::watcher::{Batch, PendingChange, Watcher};

/// An event for a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitEvent {
    /// A unit's state after a change. Intermediate states may be omitted.
    StateChanged(UnitName, SystemdState),
    /// Signals may have been lost: all states must be read. Sent first, after each daemon-reload, after a reconnect,
    /// and to slow subscribers.
    EventsLost,
}

impl Units {
    /// Subscribes to state changes of units in the directory. Events of a unit are in order; intermediate states may
    /// be skipped. Ends when the receiver is dropped. Must be called in a tokio runtime.
    pub fn events(&self) -> Receiver<UnitEvent> {
        let (sender, receiver) = mpsc::channel(EVENT_BUFFER);
        let watcher = self.0.watchers.add();
        let units = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = units.forward_events(&watcher, &sender) => {}
            }
        });
        receiver
    }

    /// Returns when the receiver is dropped.
    async fn forward_events(&self, watcher: &Watcher, sender: &Sender<UnitEvent>) {
        let mut is_disconnected = false;
        loop {
            let session = match self.session().await {
                Ok(session) => session,
                Err(error) => {
                    if !is_disconnected {
                        tracing::warn!("no changes of units are seen: {error}");
                    }
                    is_disconnected = true;
                    sleep(RECONNECT_INTERVAL).await;
                    continue;
                }
            };
            is_disconnected = false;
            tokio::select! {
                // A new connection starts with [`UnitEvent::EventsLost`].
                () = session.closed() => continue,
                () = watcher.wait() => {}
            }
            sleep(COALESCE_INTERVAL).await;
            // Queries states only when the channel has capacity, so that they are current.
            let Ok(permit) = sender.reserve().await else { return };
            let free = sender.capacity() + 1;
            let pending = match watcher.take_batch(free) {
                Batch::Resync => {
                    permit.send(UnitEvent::EventsLost);
                    continue;
                }
                Batch::Units(pending) => pending,
            };
            drop(permit);
            match self.changed_states(&session, watcher, pending).await {
                Ok(states) => {
                    for (name, state) in states {
                        if sender.send(UnitEvent::StateChanged(name, state)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!("changes of units are lost: {error}");
                    watcher.request_resync();
                    sleep(RECONNECT_INTERVAL).await;
                }
            }
        }
    }

    /// The states that differ from the last reported ones. A query loads a unit into systemd's memory and unneeded
    /// units are unloaded again. Both send signals, which must not cause another query.
    async fn changed_states(
        &self,
        session: &Session,
        watcher: &Watcher,
        pending: Vec<(UnitName, PendingChange)>,
    ) -> Result<Vec<(UnitName, SystemdState)>, Error> {
        let is_ours = |name: &UnitName| self.0.directory.has(name) && !self.0.watchers.is_being_removed(name);
        let pending = pending.into_iter().filter(|(name, _)| is_supported(name) && is_ours(name));
        let to_query = try_join_all(pending.map(async |(name, pending)| {
            let needs_query = match pending {
                PendingChange::Changed => true,
                PendingChange::Removed => !watcher.was_inactive(&name),
                PendingChange::New => session.unit_object(&name).await?.is_some(),
            };
            Ok(needs_query.then_some(name))
        }));
        let names: Vec<UnitName> = to_query.await?.into_iter().flatten().collect();
        let statuses = session.list_units(&names.iter().collect::<Vec<_>>()).await?;
        let states = names.into_iter().zip(statuses.into_iter().map(|unit| unit.state));
        // It may have been removed during the query.
        let states = states.filter(|(name, _)| is_ours(name));
        Ok(states.filter(|(name, state)| watcher.record_if_changed(name, state)).collect())
    }
}
