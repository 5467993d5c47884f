//! One connection to systemd with its signal subscription.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::{Connection, MessageStream};

use crate::call::{Call, SYSTEMD};
use crate::call_batcher::CallBatcher;
use crate::dial::Dial;
use crate::error::Error;
use crate::jobs::Jobs;
use crate::limits::{CALL_TIMEOUT, MAX_CALLS_IN_FLIGHT, MESSAGE_QUEUE};
use crate::signal;
use crate::signal_listener::{BusOwner, SignalListener};
use crate::unit_directory::UnitDirectory;
use crate::watcher::Watchers;

pub(crate) struct Session {
    pub connection: Connection,
    pub jobs: Jobs,
    pub in_flight: Semaphore,
    /// Units whose links are to be removed.
    pub disable_batcher: CallBatcher,
    listener: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The task holds the connection, too.
        self.listener.abort();
    }
}

impl Session {
    /// Signals are received before this returns. Subscribers are told to read all states.
    pub async fn open(
        dial: &dyn Dial,
        directory: &Arc<UnitDirectory>,
        watchers: &Arc<Watchers>,
    ) -> Result<Self, Error> {
        let connection = match timeout(CALL_TIMEOUT, dial.dial()).await {
            Ok(dialed) => dialed.map_err(|source| Error::Connect(Box::new(source)))?,
            Err(_) => {
                return Err(Error::TimedOut { call: "connecting to D-Bus".to_owned(), limit: CALL_TIMEOUT });
            }
        };
        let mut messages = MessageStream::from(&connection);
        messages.set_max_queued(MESSAGE_QUEUE);
        let (jobs, systemd) = (Jobs::default(), BusOwner::default());
        let (directory, watchers) = (directory.clone(), watchers.clone());
        let listener = SignalListener {
            directory,
            watchers: watchers.clone(),
            jobs: jobs.clone(),
            systemd: systemd.clone(),
        };
        let listener = tokio::spawn(listener.run(messages));
        let (in_flight, disable_batcher) = (Semaphore::new(MAX_CALLS_IN_FLIGHT), CallBatcher::default());
        let session = Self { connection, jobs, in_flight, disable_batcher, listener };
        session.subscribe(&systemd).await?;
        watchers.request_resync();
        Ok(session)
    }

    /// The order ensures that no signal is missed: first match rules, then the owner of systemd's name, then
    /// systemd's subscription.
    async fn subscribe(&self, systemd: &BusOwner) -> Result<(), Error> {
        let rules = signal::match_rules().map_err(|source| Error::InvalidReply {
            call: "asking the bus for signals".to_owned(),
            source: Box::new(source),
        })?;
        for rule in rules {
            Call::bus("AddMatch").send::<_, ()>(&self.connection, &rule).await?;
        }
        systemd.set_if_unknown(Call::bus("GetNameOwner").send(&self.connection, &SYSTEMD).await?);
        signal::subscribe(&self.connection).await
    }

    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    pub async fn closed(&self) {
        self.connection.closed().await;
    }
}
