//! The network between machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_core::FenceKey;
use fleet_node::{Peer, PeerResponder, Peers, Store};
use tokio::time::{sleep, timeout};

/// Responders by machine, and machines that are cut off.
#[derive(Clone)]
pub struct Lan<S>(Arc<Mutex<State<S>>>);

struct State<S> {
    responders: BTreeMap<String, PeerResponder<S>>,
    cut: BTreeSet<String>,
}

impl<S: Store> Lan<S> {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { responders: BTreeMap::new(), cut: BTreeSet::new() })))
    }

    pub fn connect(&self, id: &str, responder: PeerResponder<S>) {
        self.0.lock().unwrap().responders.insert(id.to_owned(), responder);
    }

    pub fn disconnect(&self, id: &str) {
        self.0.lock().unwrap().responders.remove(id);
    }

    pub fn set_cut(&self, id: &str, cut: bool) {
        let mut state = self.0.lock().unwrap();
        if cut {
            state.cut.insert(id.to_owned())
        } else {
            state.cut.remove(id)
        };
    }

    pub fn link(&self, id: &str) -> LanLink<S> {
        LanLink { lan: self.clone(), me: id.to_owned() }
    }
}

#[derive(Clone)]
pub struct LanLink<S> {
    lan: Lan<S>,
    me: String,
}

impl<S: Store> LanLink<S> {
    fn responder(&self, id: &str) -> Option<PeerResponder<S>> {
        let state = self.lan.0.lock().unwrap();
        let cut = state.cut.contains(&self.me) || state.cut.contains(id);
        state.responders.get(id).filter(|_| !cut).cloned()
    }
}

impl<S: Store> Peers for LanLink<S> {
    async fn all_without_store(&self, key: &FenceKey, others: &[Peer]) -> bool {
        let ask = async |peer: &Peer| {
            sleep(Duration::from_micros(300)).await;
            let Some(responder) = self.responder(peer.id.as_str()) else { return false };
            responder.fence_key().as_ref() == Some(key)
                && !responder.has_store().await
                && self.responder(peer.id.as_str()).is_some()
        };
        let all = futures_util::future::join_all(others.iter().map(ask));
        timeout(Duration::from_millis(2500), all)
            .await
            .is_ok_and(|without| without.into_iter().all(|one| one))
    }
}
