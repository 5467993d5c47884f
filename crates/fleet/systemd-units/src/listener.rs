//! Takes messages off the bus as they come. It never waits for anything else: while its queue is full, no answer of
//! systemd's comes through either.

use std::sync::Arc;

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use unit_file::UnitName;
use zbus::{Connection, Message, MessageStream};

use crate::folder::Folder;
use crate::jobs::Jobs;
use crate::signal::{self, Signal};
use crate::watcher::{News, Watchers};

pub(crate) struct Listener {
    pub folder: Arc<Folder>,
    pub watchers: Arc<Watchers>,
    pub jobs: Jobs,
    pub systemd: Owner,
}

/// Who systemd is on the bus. Until that is known, nothing is believed.
#[derive(Clone, Default)]
pub(crate) struct Owner(Arc<Mutex<Option<Option<String>>>>);

impl Owner {
    /// An answer to a question: a signal that came meanwhile knows better.
    pub fn answered(&self, name: String) {
        self.0.lock().get_or_insert(Some(name));
    }

    fn changed(&self, name: Option<String>) {
        *self.0.lock() = Some(name);
    }

    fn name(&self) -> Option<String> {
        self.0.lock().clone().flatten()
    }
}

impl Listener {
    /// Until the connection ends.
    pub async fn run(self, mut messages: MessageStream) {
        while let Some(Ok(message)) = messages.next().await {
            self.hear(&message, &messages);
        }
    }

    fn hear(&self, message: &Message, messages: &MessageStream) {
        let Some(signal) = signal::read(message, self.systemd.name().as_deref()) else { return };
        match signal {
            Signal::JobRemoved { job, unit, result } => {
                self.jobs.ended(job, &result);
                self.mark_text(&unit, News::Changed);
            }
            Signal::Appeared(unit) => self.mark_text(&unit, News::Appeared),
            Signal::Gone(unit) => self.mark_text(&unit, News::Gone),
            Signal::Changed(unit) => self.mark(&unit, News::Changed),
            // Where systemd forgets us, the end is not told.
            Signal::Reloading => self.begin_anew(messages.into()),
            Signal::Owner(name) => {
                let is_there = name.is_some();
                self.systemd.changed(name);
                if is_there {
                    self.begin_anew(messages.into());
                }
            }
        }
    }

    fn mark_text(&self, unit: &str, news: News) {
        if let Ok(name) = UnitName::parse(unit) {
            self.mark(&name, news);
        }
    }

    fn mark(&self, name: &UnitName, news: News) {
        if name.kind().runs() && self.folder.has(name) {
            self.watchers.mark(name, news);
        }
    }

    /// systemd reads its files again, or was replaced: it may have forgotten who listens, and units may have other
    /// states without a word. Its answer comes when it is done.
    fn begin_anew(&self, connection: Connection) {
        let watchers = self.watchers.clone();
        tokio::spawn(async move {
            match signal::subscribe(&connection).await {
                Ok(()) => watchers.everything(),
                Err(error) => {
                    tracing::warn!("systemd would send no more signals, connecting anew: {error}");
                    if let Err(error) = connection.close().await {
                        tracing::warn!("cannot close the connection to systemd: {error}");
                    }
                }
            }
        });
    }
}
