//! The bus: connections that are opened, closed and cut.

use std::io;

use futures_util::StreamExt as _;
use systemd_units::{Dial, Dialing};
use zbus::connection::Builder;
use zbus::connection::socket::Channel;
use zbus::message::Type;
use zbus::{Connection, Guid, Message};

use super::messages::{self, owner_changed};
use super::{Action, FakeSystemd, State};

impl Dial for FakeSystemd {
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
            // No sockets, since they do not work with a paused clock.
            let (here, there) = Channel::pair();
            let guid = Guid::generate();
            tokio::spawn(self.clone().serve(there, guid.clone()));
            Builder::authenticated_socket(here, guid).build().await
        })
    }
}

impl FakeSystemd {
    async fn serve(self, end: Channel, guid: Guid<'static>) {
        let server = Builder::authenticated_socket(end, guid).p2p().build_message_stream();
        let mut messages = server.await.unwrap();
        let connection = Connection::from(&messages);
        self.state(|state| {
            // Subscriptions belong to connections.
            state.subscribed = false;
            state.rules.clear();
            state.peers.push(connection.clone());
        });
        while let Some(Ok(message)) = messages.next().await {
            if message.message_type() == Type::MethodCall {
                let out = self.state(|state| state.handle_call(&message));
                self.send(&connection, out).await;
                self.changed.notify_waiters();
            }
        }
        self.state(|state| {
            state.peers.retain(|peer| !peer.is_closed());
            state.ended += 1;
        });
        self.changed.notify_waiters();
    }

    async fn send(&self, connection: &Connection, out: Vec<Action>) {
        for out in out {
            match out {
                // The caller may have disconnected.
                Action::Reply(message) => connection.send(&message).await.unwrap_or_default(),
                Action::Signal(message) => self.signal(&message).await,
                Action::Forget => self.state(|state| state.subscribed = false),
                Action::Cut => self.cut().await,
            }
        }
    }

    /// To all subscribers.
    pub async fn signal(&self, message: &Message) {
        let peers = self.state(|state| if state.has_subscriber() { state.peers.clone() } else { Vec::new() });
        for peer in peers {
            peer.send(message).await.unwrap_or_default();
        }
    }

    /// Closes all connections.
    pub async fn cut(&self) {
        let peers = self.state(|state| std::mem::take(&mut state.peers));
        for peer in peers {
            peer.close().await.unwrap();
        }
        self.changed.notify_waiters();
    }

    /// systemd re-executes: it gets another name on the bus and loses its subscribers.
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

    /// Ends a held stop job.
    pub async fn end_stop(&self, unit: &str, result: &str, active: &str) {
        let out = self.state(|state| {
            let job = state.units.get(unit).and_then(|unit| unit.job).expect("no stop goes on");
            state.end_stop(unit, job, result, active)
        });
        for out in out {
            if let Action::Signal(message) = out {
                self.signal(&message).await;
            }
        }
    }

    /// Signals that systemd has loaded the unit, and nothing else.
    pub async fn send_unit_new(&self, unit: &str) {
        let message = self
            .state(|state| messages::manager(&state.sender(), "UnitNew", &(unit, messages::object(unit))));
        self.signal(&message).await;
    }

    /// systemd unloads the unit.
    pub async fn send_unit_removed(&self, unit: &str) {
        let message = self.state(|state| {
            state.units.remove(unit);
            messages::manager(&state.sender(), "UnitRemoved", &(unit, messages::object(unit)))
        });
        self.signal(&message).await;
    }

    /// The unit changes its state.
    pub async fn set_state(&self, unit: &str, active: &str, sub: &str) {
        let message = self.state(|state| {
            let known = state.units.get_mut(unit).expect("no such unit");
            known.active = active.to_owned();
            known.sub = sub.to_owned();
            messages::changed(&state.sender(), unit, active, sub)
        });
        self.signal(&message).await;
    }
}

impl State {
    /// systemd's unique name on the bus.
    pub fn sender(&self) -> String {
        format!(":1.{}", self.reexecuted + 1)
    }

    fn has_subscriber(&self) -> bool {
        self.subscribed && self.rules.len() == 3
    }
}
