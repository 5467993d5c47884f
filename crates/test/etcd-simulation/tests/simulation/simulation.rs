//! The simulated machines, network and clients, and their common virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_raft::Role;
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::machine::{Machine, WallClock, paused_runtime};
use super::network::SimulatedNetwork;
use super::process;
use super::trace::Trace;

/// Milliseconds between two status traces.
const STATUS_INTERVAL: u64 = 20;

/// What clients can access.
pub struct ClientContext {
    pub members: u64,
    pub network: Arc<SimulatedNetwork>,
    pub trace: Arc<Trace>,
    pub clocks: Vec<Arc<WallClock>>,
    over: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl ClientContext {
    /// Whether clients must stop.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Reports a violation that a client observed. The first one is kept.
    pub fn report_failure(&self, how: &str) {
        self.failure.lock().get_or_insert_with(|| how.to_owned());
    }
}

pub struct Simulation {
    pub machines: Vec<Machine>,
    pub context: Arc<ClientContext>,
    pub clients: Runtime,
    order: Rng,
    last_statuses: Vec<(Role, u64, Option<u64>)>,
}

impl Simulation {
    pub fn new(
        machines: Vec<Machine>,
        network: Arc<SimulatedNetwork>,
        trace: Arc<Trace>,
        order: Rng,
    ) -> Self {
        let context = ClientContext {
            members: machines.len() as u64,
            network,
            trace,
            clocks: machines.iter().map(|machine| Arc::clone(&machine.clock)).collect(),
            over: AtomicBool::new(false),
            failure: Mutex::new(None),
        };
        Self {
            last_statuses: vec![(Role::Stopped, 0, None); machines.len()],
            machines,
            context: Arc::new(context),
            clients: paused_runtime(),
            order,
        }
    }

    pub fn now(&self) -> u64 {
        self.context.trace.moments.millis()
    }

    /// Advances everything by one millisecond, in random order.
    pub fn tick(&mut self) -> Result<(), String> {
        self.context.trace.moments.advance();
        self.context.network.tick();
        self.clients.block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        let mut order = (0..self.machines.len()).collect::<Vec<_>>();
        self.order.shuffle(&mut order);
        for number in order {
            self.machines[number].tick()?;
        }
        if self.now().is_multiple_of(STATUS_INTERVAL) {
            self.trace_statuses();
        }
        let failure = self.context.failure.lock().take();
        failure.or_else(process::violation).map_or(Ok(()), Err)
    }

    fn trace_statuses(&mut self) {
        let trace = &self.context.trace;
        for (machine, before) in self.machines.iter().zip(&mut self.last_statuses) {
            let Some(status) = machine.member().map(etcd_raft::Member::status) else { continue };
            let now = (status.role, status.term, status.leader);
            if now != *before {
                let (role, term, leader) = now;
                trace.highlight(format_args!("member {}: {role:?} of {leader:?} in term {term}", machine.id));
                *before = now;
            }
            trace.note(format_args!("member {} applied {}", machine.id, status.applied));
        }
    }

    pub fn leader(&self) -> Option<u64> {
        let status = self.machines.iter().filter_map(|machine| Some(machine.member()?.status()));
        let leaders = status.filter(|status| status.role == Role::Leader);
        leaders.max_by_key(|status| status.term).map(|status| status.member_id)
    }

    pub fn run_for(&mut self, millis: u64) -> Result<(), String> {
        for _ in 0..millis {
            self.tick()?;
        }
        Ok(())
    }

    /// Runs until `reached` succeeds; at the limit its error is returned.
    pub fn run_until(
        &mut self,
        limit: u64,
        what: &str,
        mut reached: impl FnMut(&Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let end = self.now() + limit;
        loop {
            self.tick()?;
            match reached(self) {
                Ok(()) => return Ok(()),
                Err(missing) if self.now() >= end => {
                    return Err(format!("waited in vain for {what}: {missing}"));
                }
                Err(_) => {}
            }
        }
    }
}
