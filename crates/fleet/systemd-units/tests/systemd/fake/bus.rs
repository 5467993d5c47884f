//! The bus: connections that come, go and are cut.

use std::io;

use futures_util::StreamExt as _;
use systemd_units::{Dial, Dialing};
use zbus::connection::Builder;
use zbus::connection::socket::Channel;
use zbus::message::Type;
use zbus::{Connection, Guid, Message};

use super::words::{self, owner_changed};
use super::{Fake, Out, State};

impl Dial for Fake {
    fn dial(&self) -> Dialing<'_> {
        Box::pin(async move {
            self.state(|state| {
                state.dials += 1;
                if state.refuse_dials > 0 {
                    state.refuse_dials -= 1;
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                Ok(())
            })?;
            // No sockets: with them, a clock that stands still would not.
            let (here, there) = Channel::pair();
            let guid = Guid::generate();
            tokio::spawn(self.clone().serve(there, guid.clone()));
            Builder::authenticated_socket(here, guid).build().await
        })
    }
}

impl Fake {
    async fn serve(self, end: Channel, guid: Guid<'static>) {
        let server = Builder::authenticated_socket(end, guid).p2p().build_message_stream();
        let mut messages = server.await.unwrap();
        let connection = Connection::from(&messages);
        self.state(|state| {
            // systemd knows its listeners by their connections.
            state.subscribed = false;
            state.rules.clear();
            state.peers.push(connection.clone());
        });
        while let Some(Ok(message)) = messages.next().await {
            if message.message_type() == Type::MethodCall {
                let out = self.state(|state| state.answered(&message));
                self.send(&connection, out).await;
                self.news.notify_waiters();
            }
        }
        self.state(|state| {
            state.peers.retain(|peer| !peer.is_closed());
            state.ended += 1;
        });
        self.news.notify_waiters();
    }

    async fn send(&self, connection: &Connection, out: Vec<Out>) {
        for out in out {
            match out {
                // Who asked may be gone.
                Out::Answer(message) => connection.send(&message).await.unwrap_or_default(),
                Out::Signal(message) => self.signal(&message).await,
                Out::Forget => self.state(|state| state.subscribed = false),
                Out::Cut => self.cut().await,
            }
        }
    }

    /// To all who listen.
    pub async fn signal(&self, message: &Message) {
        let peers = self.state(|state| if state.is_heard() { state.peers.clone() } else { Vec::new() });
        for peer in peers {
            peer.send(message).await.unwrap_or_default();
        }
    }

    /// All connections end.
    pub async fn cut(&self) {
        let peers = self.state(|state| std::mem::take(&mut state.peers));
        for peer in peers {
            peer.close().await.unwrap();
        }
        self.news.notify_waiters();
    }

    /// systemd is replaced by itself: it has another name on the bus, and knows its units, but nobody who listens.
    pub async fn reexecute(&self) {
        let (old, new) = self.state(|state| {
            let old = state.sender();
            state.reexecuted += 1;
            (old, state.sender())
        });
        let peers = self.state(|state| state.peers.clone());
        for message in [owner_changed(&old, ""), owner_changed("", &new)] {
            for peer in &peers {
                peer.send(&message).await.unwrap();
            }
        }
        self.state(|state| state.subscribed = false);
    }

    /// A stop that was held is over.
    pub async fn end_stop(&self, unit: &str, result: &str, active: &str) {
        let out = self.state(|state| {
            let job = state.units.get(unit).and_then(|unit| unit.job).expect("no stop goes on");
            state.end_stop(unit, job, result, active)
        });
        for out in out {
            if let Out::Signal(message) = out {
                self.signal(&message).await;
            }
        }
    }

    /// systemd has read the unit, and that is all it tells.
    pub async fn appear(&self, unit: &str) {
        let message =
            self.state(|state| words::manager(&state.sender(), "UnitNew", &(unit, words::object(unit))));
        self.signal(&message).await;
    }

    /// systemd has the unit in its memory no more.
    pub async fn forget(&self, unit: &str) {
        let message = self.state(|state| {
            state.units.remove(unit);
            words::manager(&state.sender(), "UnitRemoved", &(unit, words::object(unit)))
        });
        self.signal(&message).await;
    }

    /// The unit is in another state by itself.
    pub async fn change(&self, unit: &str, active: &str, sub: &str) {
        let message = self.state(|state| {
            let known = state.units.get_mut(unit).expect("no such unit");
            known.active = active.to_owned();
            known.sub = sub.to_owned();
            words::changed(&state.sender(), unit, active, sub)
        });
        self.signal(&message).await;
    }
}

impl State {
    /// systemd's name on the bus.
    pub fn sender(&self) -> String {
        format!(":1.{}", self.reexecuted + 1)
    }

    fn is_heard(&self) -> bool {
        self.subscribed && self.rules.len() == 3
    }
}
