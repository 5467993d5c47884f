//! One connection to systemd, from the first signal that is asked for to its end.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::{Connection, MessageStream};

use crate::call::{Call, SYSTEMD};
use crate::dial::Dial;
use crate::error::Error;
use crate::folder::Folder;
use crate::jobs::Jobs;
use crate::limits::{CALL_LIMIT, CALLS_IN_FLIGHT, MESSAGE_QUEUE};
use crate::listener::{Listener, Owner};
use crate::signal;
use crate::together::Together;
use crate::watcher::Watchers;

pub(crate) struct Session {
    pub connection: Connection,
    pub jobs: Jobs,
    pub in_flight: Semaphore,
    /// Units whose links are to be removed.
    pub disabling: Together,
    listener: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // It holds the connection, too.
        self.listener.abort();
    }
}

impl Session {
    /// Signals come from before it returns; whoever reads changes is told to ask for everything.
    pub async fn open(
        dial: &dyn Dial,
        folder: &Arc<Folder>,
        watchers: &Arc<Watchers>,
    ) -> Result<Self, Error> {
        let connection = match timeout(CALL_LIMIT, dial.dial()).await {
            Ok(dialed) => dialed.map_err(|source| Error::Connect(Box::new(source)))?,
            Err(_) => {
                return Err(Error::TimedOut { call: "connecting to D-Bus".to_owned(), limit: CALL_LIMIT });
            }
        };
        let mut messages = MessageStream::from(&connection);
        messages.set_max_queued(MESSAGE_QUEUE);
        let (jobs, systemd) = (Jobs::default(), Owner::default());
        let (folder, watchers) = (folder.clone(), watchers.clone());
        let listener =
            Listener { folder, watchers: watchers.clone(), jobs: jobs.clone(), systemd: systemd.clone() };
        let listener = tokio::spawn(listener.run(messages));
        let (in_flight, disabling) = (Semaphore::new(CALLS_IN_FLIGHT), Together::default());
        let session = Self { connection, jobs, in_flight, disabling, listener };
        session.listen(&systemd).await?;
        watchers.everything();
        Ok(session)
    }

    /// In this order nothing is missed: the bus hands signals over, then it is known whose are believed, then systemd
    /// sends them.
    async fn listen(&self, systemd: &Owner) -> Result<(), Error> {
        let rules = signal::rules().map_err(|source| Error::Answer {
            call: "asking the bus for signals".to_owned(),
            source: Box::new(source),
        })?;
        for rule in rules {
            Call::bus("AddMatch").ask::<_, ()>(&self.connection, &rule).await?;
        }
        systemd.answered(Call::bus("GetNameOwner").ask(&self.connection, &SYSTEMD).await?);
        signal::subscribe(&self.connection).await
    }

    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    pub async fn closed(&self) {
        self.connection.closed().await;
    }
}
