//! This machine's presence in the cluster: registered once, then kept alive.

use fleet_core::Capacity;
use fleet_core::registry::{Key, MachineObject};
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::contact::Contact;
use crate::known::Known;
use crate::settings::Settings;
use crate::store::{Only, Store, StoreError};
use crate::words::Words;

pub struct Presence<'a, S> {
    pub store: S,
    pub settings: &'a Settings,
    pub known: &'a Known,
    pub contact: &'a Contact,
    pub words: Words,
}

/// The machine's key as this node has written it.
struct Written {
    object: String,
    /// Of the last write, as far as it is known. What was sent before and is carried out later does not hold any more.
    index: u64,
}

/// Why beats end.
enum Lost {
    /// The key is gone, or another node's.
    Registration,
    Store,
}

impl<S: Store> Presence<'_, S> {
    /// Never ends.
    pub async fn keep(&self) {
        loop {
            let written = self.register().await;
            // What others wrote until then is to be known before anybody asks.
            self.known.reached(written.index).await;
            self.contact.set_serving(Some(self.settings.clock.now()));
            match self.beat(written).await {
                Lost::Store => {
                    tracing::error!("Server monitor triggered: Monitor timed out before successful heartbeat")
                }
                Lost::Registration => tracing::warn!("this machine's presence has ended: registering again"),
            }
            self.contact.set_serving(None);
        }
    }

    fn object(&self) -> String {
        let settings = self.settings;
        let object = MachineObject {
            id: settings.me.clone(),
            public_ip: (settings.public_ip)(),
            metadata: settings.metadata.clone(),
            disable_engine: settings.disable_engine,
            version: settings.version.clone(),
        };
        object.encode()
    }

    /// Until it is done.
    async fn register(&self) -> Written {
        tracing::info!("Establishing etcd connectivity");
        let mut backoff = Backoff::new(self.settings);
        let (mut only, mut told, mut failure) = (Only::Absent, false, String::new());
        loop {
            // Where it is seen to be present, it is also seen what it holds.
            self.words.say_all_again().await;
            let object = self.object();
            let sent = self.settings.clock.now();
            let (ttl, key) = (Some(self.settings.ttl), Key::MachineObject(self.settings.me.clone()));
            match self.store.put(&key, &object, ttl, only.clone()).await {
                Ok(index) => {
                    only = Only::Index(index);
                    if self.put_companions().await.is_ok() {
                        self.contact.beat_succeeded(sent);
                        return Written { object, index };
                    }
                }
                Err(StoreError::Refused(why)) => {
                    let before = std::mem::replace(&mut only, Only::Absent);
                    if let Ok(Some(index)) = self.index_of_ours().await {
                        only = Only::Index(index);
                        if only != before {
                            continue;
                        }
                    } else if !std::mem::replace(&mut told, true) {
                        tracing::warn!("waiting until the presence under this machine's id ends: {why}");
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    if text != failure {
                        tracing::warn!("waiting for etcd to register this machine: {text}");
                        failure = text;
                    }
                }
            }
            backoff.wait().await;
        }
    }

    /// Of the presence that is there, if it was written by this start of the program, or by an earlier one on this machine.
    async fn index_of_ours(&self) -> Result<Option<u64>, StoreError> {
        let stored = self.store.get(&Key::MachineInstance(self.settings.me.clone())).await?;
        let mut instances = self.settings.earlier_instances.iter().chain([&self.settings.instance]);
        if !stored.is_some_and(|stored| instances.any(|instance| *instance == stored.value)) {
            return Ok(None);
        }
        let object = self.store.get(&Key::MachineObject(self.settings.me.clone())).await?;
        Ok(object.map(|object| object.index))
    }

    async fn put_companions(&self) -> Result<(), StoreError> {
        let ttl = Some(self.settings.ttl);
        for (key, value) in self.companions() {
            self.store.put(&key, &value, ttl, Only::Always).await?;
        }
        Ok(())
    }

    fn companions(&self) -> Vec<(Key, String)> {
        let me = &self.settings.me;
        let capacity = capacity(self.settings, self.contact);
        let mut companions = vec![(Key::MachineInstance(me.clone()), self.settings.instance.clone())];
        if capacity != Capacity::default() {
            companions.push((Key::MachineCapacity(me.clone()), capacity.encode()));
        }
        companions
    }

    /// Until one does not succeed in time.
    async fn beat(&self, mut written: Written) -> Lost {
        let mut tried = Instant::now();
        loop {
            // From when it was tried, as its time runs: a slow answer makes the next one no later.
            sleep_until(tried + self.settings.beat()).await;
            let until = Instant::now() + self.settings.patience();
            loop {
                tried = Instant::now();
                match self.beat_once(&mut written).await {
                    Ok(()) => break,
                    Err(StoreError::Away(why)) if Instant::now() < until => {
                        tracing::warn!("a heartbeat failed: {why}");
                        sleep_until(tried + self.settings.pause()).await;
                    }
                    Err(StoreError::Away(_)) => return Lost::Store,
                    Err(_) => return Lost::Registration,
                }
            }
        }
    }

    async fn beat_once(&self, written: &mut Written) -> Result<(), StoreError> {
        let me = &self.settings.me;
        if self.known.look(|view| view.instance(me).is_some_and(|other| other != self.settings.instance)) {
            tracing::error!("Machine({me}) is there twice: another fleetd has registered under this id");
            return Err(StoreError::Refused("another machine has this id".into()));
        }
        let (object, sent) = (self.object(), self.settings.clock.now());
        match self.renew(&object, written).await {
            Err(StoreError::Refused(why)) => {
                // A beat without an answer may have been carried out: it moved the index.
                match self.store.get(&Key::MachineObject(me.clone())).await? {
                    Some(stored)
                        if stored.index != written.index
                            && [&object, &written.object].contains(&&stored.value) =>
                    {
                        written.index = stored.index;
                        self.renew(&object, written).await?;
                    }
                    _ => return Err(StoreError::Refused(why)),
                }
            }
            renewed => renewed?,
        }
        let ttl = self.settings.ttl;
        // Others go by this alone; what follows tells them more.
        self.contact.beat_succeeded(sent);
        for (key, value) in self.companions() {
            match self.store.refresh(&key, &value, ttl, Only::Value(value.clone())).await {
                // It has ended alone, after a beat of which only the first half was answered; or the capacity has changed.
                Err(StoreError::Refused(_)) => {
                    // Another instance is another machine's.
                    let only = match key {
                        Key::MachineInstance(_) => Only::Absent,
                        _ => Only::Always,
                    };
                    self.store.put(&key, &value, Some(ttl), only).await?;
                }
                refreshed => drop(refreshed?),
            }
        }
        Ok(())
    }

    async fn renew(&self, object: &str, written: &mut Written) -> Result<(), StoreError> {
        let (key, ttl) = (Key::MachineObject(self.settings.me.clone()), self.settings.ttl);
        let only = Only::Index(written.index);
        written.index = if *object == written.object {
            self.store.refresh(&key, object, ttl, only).await?
        } else {
            self.store.put(&key, object, Some(ttl), only).await?
        };
        object.clone_into(&mut written.object);
        Ok(())
    }
}

/// Whether the presence under this machine's id is another machine's: then what is said there, and to it, is not
/// for this one, and not this one's to take back.
pub fn is_anothers(settings: &Settings, known: &Known) -> bool {
    known.look(|view| {
        let ours = |other: &str| {
            other == settings.instance || settings.earlier_instances.iter().any(|one| one == other)
        };
        view.instance(&settings.me).is_some_and(|other| !ours(other))
    })
}

/// A machine that leaves has room for nothing more.
pub fn capacity(settings: &Settings, contact: &Contact) -> Capacity {
    if contact.is_leaving() { Capacity { units: Some(0), ..settings.capacity } } else { settings.capacity }
}
