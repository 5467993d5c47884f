//! What goes from machine to machine, not by the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_node::{Answerer, Peer, Peers, Store};
use tokio::time::{sleep, timeout};

/// The machines' own network: who answers for which machine, and between whom it is cut.
#[derive(Clone)]
pub struct Lan<S>(Arc<Mutex<Wires<S>>>);

struct Wires<S> {
    answerers: BTreeMap<String, Answerer<S>>,
    cut: BTreeSet<String>,
}

impl<S: Store> Lan<S> {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Wires { answerers: BTreeMap::new(), cut: BTreeSet::new() })))
    }

    pub fn plug(&self, id: &str, answerer: Answerer<S>) {
        self.0.lock().unwrap().answerers.insert(id.to_owned(), answerer);
    }

    pub fn unplug(&self, id: &str) {
        self.0.lock().unwrap().answerers.remove(id);
    }

    pub fn set_cut(&self, id: &str, cut: bool) {
        let mut wires = self.0.lock().unwrap();
        if cut {
            wires.cut.insert(id.to_owned())
        } else {
            wires.cut.remove(id)
        };
    }

    pub fn of(&self, id: &str) -> Wire<S> {
        Wire { lan: self.clone(), me: id.to_owned() }
    }
}

#[derive(Clone)]
pub struct Wire<S> {
    lan: Lan<S>,
    me: String,
}

impl<S: Store> Wire<S> {
    fn answerer(&self, id: &str) -> Option<Answerer<S>> {
        let wires = self.lan.0.lock().unwrap();
        let cut = wires.cut.contains(&self.me) || wires.cut.contains(id);
        wires.answerers.get(id).filter(|_| !cut).cloned()
    }
}

impl<S: Store> Peers for Wire<S> {
    async fn all_without(&self, others: &[Peer]) -> bool {
        let ask = async |peer: &Peer| {
            sleep(Duration::from_micros(300)).await;
            let Some(answerer) = self.answerer(peer.id.as_str()) else { return false };
            !answerer.has_store().await && self.answerer(peer.id.as_str()).is_some()
        };
        let all = futures_util::future::join_all(others.iter().map(ask));
        timeout(Duration::from_millis(2500), all)
            .await
            .is_ok_and(|without| without.into_iter().all(|one| one))
    }
}
