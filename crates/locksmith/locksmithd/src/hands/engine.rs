//! The update agent on the bus: what it says by itself, and what it answers.

use std::num::NonZeroUsize;

use futures_util::StreamExt as _;
use locksmith_core::{EngineStatus, Sender};
use tokio::sync::mpsc;
use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, MessageStream};

use super::bus::{BUS, BusError, Place, call, connect};
use crate::limits::SENDER_STAYS;

const NAME: &str = "com.coreos.update1";
const MANAGER: Place<'static> =
    Place { service: NAME, path: "/com/coreos/update1", interface: "com.coreos.update1.Manager" };
const STATUS_UPDATE: &str = "StatusUpdate";
const NAME_HAS_NO_OWNER: &str = "org.freedesktop.DBus.Error.NameHasNoOwner";
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// As on the bus: last checked, progress, operation, version, size.
type Fields = (i64, f64, String, String, i64);

#[derive(Debug)]
pub enum News {
    /// An update agent is there; that is what it answered.
    There(EngineStatus),
    /// None is there (any more).
    Gone,
    Said(Sender, EngineStatus),
    /// The bus is gone.
    Lost,
}

fn status((last_checked, progress, operation, new_version, new_size): Fields) -> EngineStatus {
    EngineStatus { last_checked, progress, operation, new_version, new_size }
}

/// Listens until the bus is gone, or nobody wants to hear any more. What is heard is told in its order.
pub async fn listen(news: mpsc::Sender<News>) -> Result<(), BusError> {
    // Calls go over a connection of their own: no flood of signals, which anybody may send, is in the way of answers.
    let (signals, calls) = (connect().await?, connect().await?);
    let mut messages = MessageStream::from(&signals);
    messages.set_max_queued(QUEUE);
    for rule in rules()? {
        call::<_, ()>(&signals, BUS, "AddMatch", &rule).await?;
    }
    let mut listener = Listener { calls, owner: None, news };
    // The signals come already: nothing is missed between the answer and them.
    listener.appeared(owner(&listener.calls).await?).await;
    while let Some(Ok(message)) = messages.next().await {
        listener.hear(&message).await;
        if listener.news.is_closed() {
            return Ok(());
        }
    }
    listener.tell(News::Lost).await;
    Ok(())
}

fn rules() -> Result<[MatchRule<'static>; 2], BusError> {
    let signal = || MatchRule::builder().msg_type(Type::Signal);
    let owner =
        signal().sender(BUS.service).interface(BUS.interface).member("NameOwnerChanged").add_arg(NAME);
    let status = signal().interface(MANAGER.interface).member(STATUS_UPDATE);
    let wrong = |error| BusError::new("asking for signals", error);
    Ok([owner.build().map_err(wrong)?, status.build().map_err(wrong)?])
}

async fn owner(calls: &Connection) -> Result<Option<String>, BusError> {
    match call(calls, BUS, "GetNameOwner", &NAME).await {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.is(NAME_HAS_NO_OWNER) => Ok(None),
        Err(error) => Err(error),
    }
}

struct Listener {
    calls: Connection,
    /// The unique name of the update agent.
    owner: Option<String>,
    news: mpsc::Sender<News>,
}

impl Listener {
    async fn tell(&self, news: News) {
        // Nobody hears it any more where the daemon ends.
        if self.news.send(news).await.is_err() {
            tracing::debug!("nobody listens");
        }
    }

    async fn appeared(&mut self, owner: Option<String>) {
        self.owner = owner;
        if self.owner.is_none() {
            return self.tell(News::Gone).await;
        }
        match call::<_, Fields>(&self.calls, MANAGER, "GetStatus", &()).await {
            Ok(fields) => self.tell(News::There(status(fields))).await,
            // It says by itself how it is when that changes.
            Err(error) => tracing::warn!("Cannot get update engine status: {error}"),
        }
    }

    async fn hear(&mut self, message: &Message) {
        let header = message.header();
        if message.message_type() != Type::Signal {
            return;
        }
        let (Some(sender), Some(member)) = (header.sender(), header.member()) else { return };
        match member.as_str() {
            "NameOwnerChanged" if sender.as_str() == BUS.service => {
                let body = message.body().deserialize::<(String, String, String)>();
                if let Ok((name, _, new)) = body
                    && name == NAME
                {
                    self.appeared((!new.is_empty()).then_some(new)).await;
                }
            }
            STATUS_UPDATE => {
                let Ok(fields) = message.body().deserialize::<Fields>() else {
                    return tracing::warn!("{sender} sent a {STATUS_UPDATE} of another form");
                };
                match self.rank_of(sender.as_str()).await {
                    Some(rank) => self.tell(News::Said(rank, status(fields))).await,
                    None => tracing::warn!("{sender} is neither the update agent nor root: not believed"),
                }
            }
            _ => {}
        }
    }

    /// Whose word a connection's is. `None` where it is to be ignored: anybody may send signals.
    async fn rank_of(&self, sender: &str) -> Option<Sender> {
        if self.owner.as_deref() == Some(sender) {
            return Some(Sender::Engine);
        }
        let user: Result<u32, _> = call(&self.calls, BUS, "GetConnectionUnixUser", &sender).await;
        (user.ok()? == 0).then_some(Sender::Root)
    }
}

/// Says from a connection of our own that a reboot is needed, as the update agent would.
pub async fn send_need_reboot() -> Result<(), BusError> {
    let bus = connect().await?;
    let EngineStatus { last_checked, progress, operation, new_version, new_size } = EngineStatus::fake();
    let body: Fields = (last_checked, progress, operation, new_version, new_size);
    let nobody: Option<&str> = None;
    bus.emit_signal(nobody, MANAGER.path, MANAGER.interface, STATUS_UPDATE, &body)
        .await
        .map_err(|error| BusError::new(STATUS_UPDATE, error))?;
    // Who hears it asks the bus whose it is.
    tokio::time::sleep(SENDER_STAYS).await;
    Ok(())
}
