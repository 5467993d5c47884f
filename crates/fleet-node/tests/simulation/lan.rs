//! What goes from machine to machine, not by the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_node::{Answerer, Peer, Peers};
use tokio::time::{sleep, timeout};

use crate::store::Link;

/// The machines' own network: who answers for which machine, and between whom it is cut.
#[derive(Clone, Default)]
pub struct Lan(Arc<Mutex<Wires>>);

#[derive(Default)]
struct Wires {
    answerers: BTreeMap<String, Answerer<Link>>,
    cut: BTreeSet<String>,
}

impl Lan {
    pub fn plug(&self, id: &str, answerer: Answerer<Link>) {
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

    pub fn of(&self, id: &str) -> Wire {
        Wire { lan: self.clone(), me: id.to_owned() }
    }
}

#[derive(Clone)]
pub struct Wire {
    lan: Lan,
    me: String,
}

impl Wire {
    fn answerer(&self, id: &str) -> Option<Answerer<Link>> {
        let wires = self.lan.0.lock().unwrap();
        let cut = wires.cut.contains(&self.me) || wires.cut.contains(id);
        wires.answerers.get(id).filter(|_| !cut).cloned()
    }
}

impl Peers for Wire {
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
