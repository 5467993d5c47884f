//! Tells changes to those who read them. Signals say which unit to ask about; the state is what systemd answers.

use futures_util::future::try_join_all;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;
use unit_file::UnitName;

use crate::error::Error;
use crate::limits::{CHANGES, GATHER, LOST_PAUSE};
use crate::session::Session;
use crate::state::SystemdState;
use crate::takes::takes;
use crate::units::Units;
use crate::watcher::{Batch, News, Watcher};

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    State(UnitName, SystemdState),
    /// Signals may have been missed: all states are to be asked for anew. It comes first of all, after each reload of
    /// systemd's, when the bus came back, and when the reader was too slow.
    Everything,
}

impl Units {
    /// State changes of units whose files are in the folder, each unit's in their order, passed states left out. Ends
    /// when the receiver is dropped. To be called in a tokio runtime.
    pub fn changes(&self) -> Receiver<Change> {
        let (sender, receiver) = mpsc::channel(CHANGES);
        let watcher = self.0.watchers.add();
        let units = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = units.tell(&watcher, &sender) => {}
            }
        });
        receiver
    }

    /// Returns when nobody reads any more.
    async fn tell(&self, watcher: &Watcher, sender: &Sender<Change>) {
        let mut is_lost = false;
        loop {
            let session = match self.systemd().await {
                Ok(session) => session,
                Err(error) => {
                    if !is_lost {
                        tracing::warn!("no changes of units are seen: {error}");
                    }
                    is_lost = true;
                    sleep(LOST_PAUSE).await;
                    continue;
                }
            };
            is_lost = false;
            tokio::select! {
                // A new connection begins with everything.
                () = session.closed() => continue,
                () = watcher.wait() => {}
            }
            sleep(GATHER).await;
            // What is told was asked when there was room for it.
            let Ok(permit) = sender.reserve().await else { return };
            let room = sender.capacity() + 1;
            let news = match watcher.take(room) {
                Batch::Everything => {
                    permit.send(Change::Everything);
                    continue;
                }
                Batch::Units(news) => news,
            };
            drop(permit);
            match self.ask(&session, watcher, news).await {
                Ok(states) => {
                    for (name, state) in states {
                        if sender.send(Change::State(name, state)).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!("changes of units are lost: {error}");
                    watcher.everything();
                    sleep(LOST_PAUSE).await;
                }
            }
        }
    }

    /// The states that the reader does not know. A question brings a unit into systemd's memory, and what is not needed
    /// leaves it again; both are news. So no question is asked because of such news alone.
    async fn ask(
        &self,
        session: &Session,
        watcher: &Watcher,
        news: Vec<(UnitName, News)>,
    ) -> Result<Vec<(UnitName, SystemdState)>, Error> {
        let is_here = |name: &UnitName| self.0.folder.has(name) && !self.0.watchers.is_leaving(name);
        let news = news.into_iter().filter(|(name, _)| takes(name) && is_here(name));
        let to_ask = try_join_all(news.map(async |(name, news)| {
            let ask = match news {
                News::Changed => true,
                News::Gone => !watcher.was_inactive(&name),
                News::Appeared => session.object(&name).await?.is_some(),
            };
            Ok(ask.then_some(name))
        }));
        let names: Vec<UnitName> = to_ask.await?.into_iter().flatten().collect();
        let rows = session.rows(&names.iter().collect::<Vec<_>>()).await?;
        let states = names.into_iter().zip(rows.into_iter().map(|row| row.state));
        // It may have left while systemd answered.
        let states = states.filter(|(name, _)| is_here(name));
        Ok(states.filter(|(name, state)| watcher.is_new(name, state)).collect())
    }
}
