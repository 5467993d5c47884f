//! Watches over the beats: decides what happens to units when they fail, and remembers what that takes.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use fleet_core::MachineId;
use fleet_core::fencing::{Decision, Facts, Others, decide};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::contact::{Contact, Fence, Standing};
use crate::hands::{Peer, Peers};
use crate::known::Known;
use crate::limits::PULSE;
use crate::settings::{Memory, Settings};

/// The shortest interval between two checks.
const SHORTEST: Duration = Duration::from_millis(1);

pub struct Guard<'a, P> {
    pub peers: P,
    pub settings: &'a Settings,
    pub known: &'a Known,
    pub contact: &'a Contact,
    /// Is told what the next start has to know, whenever it changes.
    pub remember: &'a (dyn Fn(&Memory) + Send + Sync),
    /// Keep-alive: called at least once each [`PULSE`] while the guard works.
    pub alive: &'a (dyn Fn() + Send + Sync),
}

impl<P: Peers> Guard<'_, P> {
    /// Never ends.
    pub async fn watch_over(&self) {
        let mut standing = self.contact.follow();
        let mut met = Met::default();
        let (mut all_without, mut remembered) = (None, None);
        let mut question = None;
        self.first_try(&mut standing).await;
        loop {
            (self.alive)();
            let others = self.others(&mut met);
            let facts = self.facts(&others, all_without);
            if let Some(sent) = self.contact.standing().sent {
                let memory = Memory { sent, others: others.clone() };
                if remembered.as_ref() != Some(&memory) {
                    (self.remember)(&memory);
                    remembered = Some(memory);
                }
            }
            let (fence, until) = match decide(&facts) {
                Decision::RunOn { until } => (Fence::Open, until),
                Decision::Ask { until } => (Fence::Open, until.min(facts.now + self.settings.pause())),
                Decision::Stop { kill_at } => (Fence::Stop, kill_at.min(facts.now + self.settings.pause())),
                Decision::Kill => (Fence::Kill, facts.now + self.settings.pause()),
            };
            self.tell(fence);
            self.contact.set_fence(fence);
            if matches!(decide(&facts), Decision::RunOn { .. }) {
                // A beat that succeeds changes the time to look again.
                let wait = until.saturating_sub(facts.now).clamp(SHORTEST, PULSE);
                drop(timeout(wait, standing.changed()).await);
                question = None;
                continue;
            }
            let now = self.settings.clock.now();
            let wait = until.saturating_sub(now).clamp(SHORTEST, PULSE);
            let (asked, answer) = question.get_or_insert_with(|| (now, self.ask(others)));
            let asked = *asked;
            // However long the others take: the time to look again is not missed, nor a beat.
            tokio::select! {
                without = answer => {
                    question = None;
                    match without {
                        true => all_without = Some(asked),
                        false => drop(timeout(wait, standing.changed()).await),
                    }
                }
                // The sender is the node's own.
                changed = standing.changed() => debug_assert!(changed.is_ok()),
                () = sleep(wait) => {}
            }
        }
    }

    fn ask(&self, others: Vec<Peer>) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        let peers = self.peers.clone();
        Box::pin(async move { peers.all_without(&others).await })
    }

    /// A fleetd that starts late in the TTL of its last beat tries the store before it stops anything.
    async fn first_try(&self, standing: &mut watch::Receiver<Standing>) {
        let Some(sent) = standing.borrow_and_update().sent else { return };
        let last = (sent + self.settings.ttl * 9 / 10).saturating_sub(self.settings.clock.now());
        drop(timeout(last.min(self.settings.pause()), standing.changed()).await);
    }

    fn tell(&self, fence: Fence) {
        if fence == self.contact.standing().fence {
            return;
        }
        match fence {
            Fence::Open => tracing::info!("units may run again"),
            Fence::Stop => tracing::warn!(
                "no heartbeat reached the store, and other machines may take over: stopping units"
            ),
            Fence::Kill => tracing::warn!("killing the units that did not stop in time"),
        }
    }

    fn facts(&self, others: &[Peer], all_without: Option<Duration>) -> Facts {
        let now = self.settings.clock.now();
        let sent = self.contact.standing().sent.unwrap_or(now);
        // Where nothing is known or remembered, nothing was started, either.
        let others = if others.is_empty() { Others::None } else { Others::Some { all_without } };
        Facts { now, sent, ttl: self.settings.ttl, others }
    }

    /// The machines that are there, or were a while ago: whose presence has just ended may come back while this
    /// one is cut off. Before anything is known, those that are remembered.
    fn others(&self, met: &mut Met) -> Vec<Peer> {
        if !self.known.is_there() {
            return self.settings.remembered.as_ref().map(|memory| memory.others.clone()).unwrap_or_default();
        }
        let now = self.settings.clock.now();
        self.known.look(|view| {
            for machine in view.machines().filter(|machine| machine.id != self.settings.me) {
                let object = view.machine_object(&machine.id);
                let address = object.map(|object| object.public_ip.clone()).unwrap_or_default();
                met.insert(machine.id, (address, now));
            }
        });
        met.retain(|_, (_, seen)| now.saturating_sub(*seen) < self.settings.ttl * FORGOTTEN_AFTER);
        met.iter().map(|(id, (address, _))| Peer { id: id.clone(), address: address.clone() }).collect()
    }
}

/// Machines with their address, and when they were last there.
type Met = BTreeMap<MachineId, (String, Duration)>;

/// A machine that has been away for so many TTLs does not come back just now.
const FORGOTTEN_AFTER: u32 = 10;
