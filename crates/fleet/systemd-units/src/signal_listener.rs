//! Receives messages from the bus. Must never block: while its queue is full, replies are not received either.

use std::sync::Arc;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use unit_file::UnitName;
use zbus::{Connection, Message, MessageStream};

use crate::jobs::Jobs;
use crate::signal::{self, Signal};
use crate::unit_directory::UnitDirectory;
use crate::watcher::{PendingChange, Watchers};

pub(crate) struct SignalListener {
    pub directory: Arc<UnitDirectory>,
    pub watchers: Arc<Watchers>,
    pub jobs: Jobs,
    pub systemd: BusOwner,
}

/// systemd's unique name on the bus. Signals are ignored until it is known.
#[derive(Clone, Default)]
pub(crate) struct BusOwner(Arc<Mutex<Option<Option<String>>>>);

impl BusOwner {
    /// For a reply: a signal received meanwhile is newer.
    pub fn set_if_unknown(&self, name: String) {
        self.0.lock().get_or_insert(Some(name));
    }

    fn set(&self, name: Option<String>) {
        *self.0.lock() = Some(name);
    }

    fn name(&self) -> Option<String> {
        self.0.lock().clone().flatten()
    }
}

impl SignalListener {
    /// Returns when the connection ends.
    pub async fn run(self, mut messages: MessageStream) {
        while let Some(Ok(message)) = messages.next().await {
            self.handle(&message, &messages);
        }
    }

    fn handle(&self, message: &Message, messages: &MessageStream) {
        let Some(signal) = signal::parse(message, self.systemd.name().as_deref()) else { return };
        match signal {
            Signal::JobRemoved { job, unit, result } => {
                self.jobs.job_removed(job, &result);
                self.mark_by_name(&unit, PendingChange::Changed);
            }
            Signal::UnitNew(unit) => self.mark_by_name(&unit, PendingChange::New),
            Signal::UnitRemoved(unit) => self.mark_by_name(&unit, PendingChange::Removed),
            Signal::PropertiesChanged(unit) => self.mark(&unit, PendingChange::Changed),
            // systemd may drop the subscription, so the end of the reload is not awaited.
            Signal::Reloading => self.resubscribe(messages.into()),
            Signal::NameOwnerChanged(name) => {
                let has_owner = name.is_some();
                self.systemd.set(name);
                if has_owner {
                    self.resubscribe(messages.into());
                }
            }
        }
    }

    fn mark_by_name(&self, unit: &str, change: PendingChange) {
        if let Ok(name) = UnitName::parse(unit) {
            self.mark(&name, change);
        }
    }

    fn mark(&self, name: &UnitName, change: PendingChange) {
        if name.kind().runs() && self.directory.has(name) {
            self.watchers.mark(name, change);
        }
    }

    /// After a daemon-reload or re-execution, systemd may have dropped the subscription and units may have changed
    /// without signals. systemd replies when it is done.
    fn resubscribe(&self, connection: Connection) {
        let watchers = self.watchers.clone();
        tokio::spawn(async move {
            match signal::subscribe(&connection).await {
                Ok(()) => watchers.request_resync(),
                Err(error) => {
                    tracing::warn!("no more signals from systemd, reconnecting: {error}");
                    if let Err(error) = connection.close().await {
                        tracing::warn!("cannot close the connection to systemd: {error}");
                    }
                }
            }
        });
    }
}
