//! A node of the cluster: all parts together, from start to stop.

use std::sync::{Arc, Mutex};

use fleet_core::registry::Key;
use tokio::task::JoinSet;

use crate::agent::{Agent, RememberUnits, There};
use crate::contact::Contact;
use crate::engine::Engine;
use crate::fence::Guard;
use crate::follow::follow;
use crate::hands::{Hands, Peers};
use crate::known::Known;
use crate::metrics::Metrics;
use crate::presence::{Presence, capacity, is_anothers};
use crate::requests::Requests;
use crate::settings::{Memory, Settings};
use crate::store::{Only, Store, StoreError};
use crate::words::words;

/// What a node works with.
pub struct World<S, H, P> {
    pub store: S,
    /// The same store, asked with more patience: for what keeps this machine's place, its presence and its lease. An
    /// answer that takes long is better there than none, and units stop for want of one.
    pub patient_store: S,
    pub hands: H,
    pub peers: P,
    /// Is told what the next start on this machine has to know.
    pub remember: Arc<dyn Fn(&Memory) + Send + Sync>,
    /// Is told which units were launched, with their texts.
    pub remember_units: RememberUnits,
    /// Keep-alive of the fence: called at least once a second while it works.
    pub alive: Arc<dyn Fn() + Send + Sync>,
}

/// A running node. Its parts end when it is dropped; units run on.
pub struct Node<S, H> {
    settings: Arc<Settings>,
    known: Arc<Known>,
    contact: Arc<Contact>,
    metrics: Arc<Metrics>,
    agent: Agent<S, H>,
    engine: Engine<S>,
    /// The parts that take and give units.
    working: JoinSet<()>,
    /// Presence and fence: they last as long as a unit may run here.
    guarding: JoinSet<()>,
    /// What hears and speaks for all.
    standing: JoinSet<()>,
}

impl<S: Store, H: Hands> Node<S, H> {
    /// Needs a tokio runtime.
    pub fn start<P: Peers>(settings: Settings, metrics: Arc<Metrics>, world: World<S, H, P>) -> Self {
        let settings = Arc::new(settings);
        let known = Arc::new(Known::default());
        let sent = settings.remembered.as_ref().map(|memory| memory.sent);
        let contact = Arc::new(Contact::new(sent));
        let World { store, patient_store, hands, peers, remember, remember_units, alive } = world;
        let (words, speaker) = words(store.clone(), &settings);
        let agent = Agent {
            store: store.clone(),
            hands,
            words,
            settings: settings.clone(),
            known: known.clone(),
            contact: contact.clone(),
            there: Arc::new(There::new(remember_units)),
            metrics: metrics.clone(),
        };
        let engine = Engine {
            store: store.clone(),
            patient_store: patient_store.clone(),
            settings: settings.clone(),
            known: known.clone(),
            contact: contact.clone(),
            metrics: metrics.clone(),
            held: Arc::new(Mutex::new(None)),
        };
        tracing::info!("Starting server components");
        let (mut working, mut guarding, mut standing) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        standing.spawn(speaker.speak());
        standing.spawn({
            let (store, known, settings) = (store.clone(), known.clone(), settings.clone());
            let contact = contact.clone();
            async move { follow(store, &known, &contact, &settings).await }
        });
        guarding.spawn({
            let (settings, known, contact) = (settings.clone(), known.clone(), contact.clone());
            let words = agent.words.clone();
            async move {
                let store = patient_store;
                let presence =
                    Presence { store, settings: &settings, known: &known, contact: &contact, words };
                presence.keep().await;
            }
        });
        guarding.spawn({
            let (settings, known, contact) = (settings.clone(), known.clone(), contact.clone());
            async move {
                let (remember, alive) = (&*remember, &*alive);
                Guard { peers, settings: &settings, known: &known, contact: &contact, remember, alive }
                    .watch_over()
                    .await;
            }
        });
        working.spawn(agent.clone().run());
        guarding.spawn(agent.fenced().keep());
        working.spawn(engine.clone().run());
        Self { settings, known, contact, metrics, agent, engine, working, guarding, standing }
    }

    pub fn known(&self) -> &Arc<Known> {
        &self.known
    }

    pub fn contact(&self) -> &Arc<Contact> {
        &self.contact
    }

    pub fn requests(&self) -> Requests<S> {
        Requests { store: self.agent.store.clone(), known: self.known.clone(), metrics: self.metrics.clone() }
    }

    /// Answers another node's question whether this one has the store: it asks the store.
    pub fn answer_to_peers(&self) -> Answerer<S> {
        Answerer {
            store: self.agent.store.clone(),
            contact: self.contact.clone(),
            settings: self.settings.clone(),
        }
    }

    /// Its state, for a person who looks for a fault.
    pub fn describe(&self) -> serde_json::Value {
        let standing = self.contact.standing();
        let (found, busy) = self.agent.there.all();
        let units: serde_json::Map<_, _> =
            found.iter().map(|(name, found)| (name.to_string(), found.state.to_string().into())).collect();
        serde_json::json!({
            "machineID": self.settings.me.as_str(),
            "index": self.known.index(),
            "serving": standing.is_serving(),
            "lastBeatSeconds": standing.sent.map(|sent| sent.as_secs_f64()),
            "fence": format!("{:?}", standing.fence),
            "leader": self.known.look(|view| view.lease().map(|lease| lease.machine.to_string())),
            "units": units,
            "busy": busy.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    /// Ends all parts. With `purge` its units are stopped and removed, and the cluster is told that it left;
    /// without, they run on, and the next start takes them over.
    pub async fn stop(mut self, purge: bool) {
        self.working.shutdown().await;
        self.engine.release().await;
        let present = !is_anothers(&self.settings, &self.known);
        if purge {
            if present {
                self.say_full().await;
            }
            self.agent.purge().await;
        }
        self.guarding.shutdown().await;
        if purge && present {
            self.leave().await;
        }
        self.standing.shutdown().await;
    }

    /// Nothing more comes to a machine that leaves; its units go as soon as each is stopped.
    async fn say_full(&self) {
        self.contact.leave();
        let key = Key::MachineCapacity(self.settings.me.clone());
        let (full, ttl) = (capacity(&self.settings, &self.contact).encode(), Some(self.settings.ttl));
        if let Err(error) = self.agent.store.put(&key, &full, ttl, Only::Always).await {
            tracing::warn!("telling that this machine leaves: {error}");
        }
    }

    async fn leave(&self) {
        let me = &self.settings.me;
        let keys = [
            Key::MachineObject(me.clone()),
            Key::MachineCapacity(me.clone()),
            Key::MachineInstance(me.clone()),
        ];
        for key in keys {
            match self.agent.store.delete(&key, Only::Always).await {
                Ok(_) | Err(StoreError::Refused(_)) => {}
                Err(error) => return tracing::warn!("taking back this machine's presence: {error}"),
            }
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Answerer<S> {
    store: S,
    contact: Arc<Contact>,
    settings: Arc<Settings>,
}

impl<S: Store> Answerer<S> {
    pub async fn has_store(&self) -> bool {
        let asked = self.store.get(&Key::EngineVersion).await;
        if asked.is_ok() {
            return true;
        }
        // Before it is said: from here on this node takes no machine for dead for a while.
        self.contact.will_tell_without(self.settings.clock.now());
        false
    }
}
