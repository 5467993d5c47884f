//! The update engine on D-Bus: its signals and status.

use std::num::NonZeroUsize;

use futures_util::StreamExt as _;
use locksmith_core::{EngineStatus, SignalSender};
use tokio::sync::mpsc;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream};

use super::dbus::{BusError, MESSAGE_BUS, RemoteObject, call, connect};
use crate::limits::SENDER_LINGER;

const NAME: &str = "com.coreos.update1";
const MANAGER: RemoteObject<'static> =
    RemoteObject { service: NAME, path: "/com/coreos/update1", interface: "com.coreos.update1.Manager" };
const STATUS_UPDATE: &str = "StatusUpdate";
const NAME_HAS_NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// D-Bus signature `(xdssx)`: last checked, progress, operation, version, size.
type Fields = (i64, f64, String, String, i64);

#[derive(Debug)]
pub enum EngineEvent {
    /// An engine appeared and reported this status.
    Appeared(EngineStatus),
    /// No engine owns the bus name (any more).
    Disappeared,
    StatusUpdate(SignalSender, EngineStatus),
    /// The connection to the bus was lost.
    BusClosed,
}

fn status((last_checked, progress, operation, new_version, new_size): Fields) -> EngineStatus {
    EngineStatus { last_checked, progress, operation, new_version, new_size }
}

/// Forwards events in order until the bus or the receiver is closed.
pub async fn listen(events: mpsc::Sender<EngineEvent>) -> Result<(), BusError> {
    // A separate connection for calls: anyone may flood the bus with signals, which must not delay replies.
    let (signals, calls) = (connect().await?, connect().await?);
    let mut messages = MessageStream::from(&signals);
    messages.set_max_queued(QUEUE);
    for rule in rules()? {
        call::<_, ()>(&signals, MESSAGE_BUS, "AddMatch", &rule).await?;
    }
    let mut listener = Listener { calls, owner: None, events };
    // Subscribed before the query, so that no change is missed.
    listener.on_owner_changed(owner(&listener.calls).await?).await;
    while let Some(Ok(message)) = messages.next().await {
        listener.on_message(&message).await;
        if listener.events.is_closed() {
            return Ok(());
        }
    }
    listener.emit(EngineEvent::BusClosed).await;
    Ok(())
}

fn rules() -> Result<[MatchRule<'static>; 2], BusError> {
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    let owner = signal()
        .sender(MESSAGE_BUS.service)
        .interface(MESSAGE_BUS.interface)
        .member("NameOwnerChanged")
        .add_arg(NAME);
    let status = signal().interface(MANAGER.interface).member(STATUS_UPDATE);
    let failed = |error| BusError::new("asking for signals", error);
    Ok([owner.build().map_err(failed)?, status.build().map_err(failed)?])
}

async fn owner(calls: &Connection) -> Result<Option<String>, BusError> {
    match call(calls, MESSAGE_BUS, "GetNameOwner", &NAME).await {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.is(NAME_HAS_NO_OWNER) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Listener {
    calls: Connection,
    /// The unique name of the engine.
    owner: Option<String>,
    events: mpsc::Sender<EngineEvent>,
}

impl Listener {
    async fn emit(&self, events: EngineEvent) {
        // The daemon may be exiting.
        if self.events.send(events).await.is_err() {
            tracing::debug!("nobody listens");
        }
    }

    async fn on_owner_changed(&mut self, owner: Option<String>) {
        self.owner = owner;
        if self.owner.is_none() {
            return self.emit(EngineEvent::Disappeared).await;
        }
        match call::<_, Fields>(&self.calls, MANAGER, "GetStatus", &()).await {
            Ok(fields) => self.emit(EngineEvent::Appeared(status(fields))).await,
            // The engine signals its next status change.
            Err(error) => tracing::warn!("Cannot get update engine status: {error}"),
        }
    }

    async fn on_message(&mut self, message: &Message) {
        let header = message.header();
        if message.message_type() != Type::Signal {
            return;
        }
        let (Some(sender), Some(member)) = (header.sender(), header.member()) else { return };
        match member.as_str() {
            "NameOwnerChanged" if sender.as_str() == MESSAGE_BUS.service => {
                let body = message.body().deserialize::<(String, String, String)>();
                if let Ok((name, _, new)) = body
                    && name == NAME
                {
                    self.on_owner_changed((!new.is_empty()).then_some(new)).await;
                }
            }
            STATUS_UPDATE => {
                let Ok(fields) = message.body().deserialize::<Fields>() else {
                    return tracing::warn!("{sender} sent a {STATUS_UPDATE} of another form");
                };
                match self.classify_sender(sender.as_str()).await {
                    Some(kind) => self.emit(EngineEvent::StatusUpdate(kind, status(fields))).await,
                    None => tracing::warn!("{sender} is neither the update agent nor root: ignored"),
                }
            }
            _ => {}
        }
    }

    /// `None` if the signal is to be ignored: anyone may send one.
    async fn classify_sender(&self, sender: &str) -> Option<SignalSender> {
        if self.owner.as_deref() == Some(sender) {
            return Some(SignalSender::Engine);
        }
        let user: Result<u32, _> = call(&self.calls, MESSAGE_BUS, "GetConnectionUnixUser", &sender).await;
        (user.ok()? == 0).then_some(SignalSender::Root)
    }
}

/// Emits the engine's signal that a reboot is needed.
pub async fn send_need_reboot() -> Result<(), BusError> {
    let bus = connect().await?;
    let EngineStatus { last_checked, progress, operation, new_version, new_size } =
        EngineStatus::need_reboot();
    let body: Fields = (last_checked, progress, operation, new_version, new_size);
    let destination: Option<&str> = None;
    bus.emit_signal(destination, MANAGER.path, MANAGER.interface, STATUS_UPDATE, &body)
        .await
        .map_err(|error| BusError::new(STATUS_UPDATE, error))?;
    // Receivers ask the bus for the sender's user.
    tokio::time::sleep(SENDER_LINGER).await;
    Ok(())
}
