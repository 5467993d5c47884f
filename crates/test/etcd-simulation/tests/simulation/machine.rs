//! One member's machine: its disk, its clocks and its runtime. The log is on a simulated disk. The checkpoint is in a
//! real directory: LMDB is not simulated, its commits are atomic, and each happens within one instant of virtual
//! time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use etcd_raft::simulated::SimulatedEnvironment;
use etcd_raft::{Clock, Member, MemberConfig, StartError, StopReason};
use fastrand::Rng;
use raft_log::simulated::{Fate, SimulatedDisk};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::disk_latency::DiskLatency;
use super::network::{Endpoint, SimulatedNetwork};
use super::trace::Trace;

const TICK: Duration = Duration::from_millis(1);
/// The wall clock at the start of a simulation: seconds since 1970.
const EPOCH: u64 = 1_700_000_000;

/// A wall clock that can be set.
pub struct WallClock {
    trace: Arc<Trace>,
    pub ahead_seconds: AtomicI64,
}

impl Clock for WallClock {
    fn now(&self) -> SystemTime {
        let ahead = self.ahead_seconds.load(Ordering::Relaxed);
        let seconds = EPOCH.saturating_add_signed(ahead);
        UNIX_EPOCH + Duration::from_secs(seconds) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.trace.moments.millis())
    }
}

enum State {
    Off,
    Starting(Runtime, JoinHandle<Result<Member, StartError>>),
    On(Runtime, Member),
}

pub struct Machine {
    pub id: u64,
    pub config: MemberConfig,
    pub clock: Arc<WallClock>,
    pub disk_latency: Arc<DiskLatency>,
    pub disk: SimulatedDisk,
    /// Since when it is paused.
    paused: Option<u64>,
    /// Its disk was made to fail, so it may stop.
    pub may_fail: bool,
    /// It is being stopped.
    stopping: Option<JoinHandle<()>>,
    state: State,
    network: Arc<SimulatedNetwork>,
    trace: Arc<Trace>,
}

impl Machine {
    pub fn new(
        mut config: MemberConfig,
        random: Rng,
        network: &Arc<SimulatedNetwork>,
        trace: &Arc<Trace>,
    ) -> Self {
        let clock = WallClock { trace: Arc::clone(trace), ahead_seconds: AtomicI64::new(0) };
        let clock = Arc::new(clock);
        config.clock = Arc::<WallClock>::clone(&clock);
        Self {
            id: config.member_id,
            config,
            clock,
            disk_latency: DiskLatency::new(random),
            disk: SimulatedDisk::new(),
            paused: None,
            may_fail: false,
            stopping: None,
            state: State::Off,
            network: Arc::clone(network),
            trace: Arc::clone(trace),
        }
    }

    pub fn member(&self) -> Option<&Member> {
        match &self.state {
            State::On(_, member) => Some(member),
            _ => None,
        }
    }

    pub fn is_off(&self) -> bool {
        matches!(self.state, State::Off)
    }

    pub fn start(&mut self) {
        self.trace.highlight(format_args!("member {} is started", self.id));
        let runtime = paused_runtime();
        let disk_latency = Arc::clone(&self.disk_latency);
        let environment = SimulatedEnvironment {
            disk: self.disk.clone(),
            disk_latency: Arc::new(move || disk_latency.sample()),
        };
        let network = self.network.network(self.id);
        let started = Member::start_with(self.config.clone(), network, Arc::new(environment));
        let started = runtime.spawn(started);
        self.state = State::Starting(runtime, started);
    }

    /// Runs it for one millisecond. An error is a violation.
    pub fn tick(&mut self) -> Result<(), String> {
        if self.paused.is_some() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off => Ok(()),
            State::Starting(runtime, starting) => {
                runtime.block_on(async { tokio::time::sleep(TICK).await });
                if starting.is_finished() {
                    return self.started(runtime, starting);
                }
                self.state = State::Starting(runtime, starting);
                Ok(())
            }
            State::On(runtime, member) => {
                runtime.block_on(async { tokio::time::sleep(TICK).await });
                let reason = member.stop_reason();
                self.state = State::On(runtime, member);
                match reason {
                    None => {}
                    Some(StopReason::Failed(_)) if self.may_fail => self.crash(Fate::Lost),
                    Some(StopReason::Requested)
                        if self.stopping.as_ref().is_some_and(JoinHandle::is_finished) =>
                    {
                        self.crash(Fate::Kept);
                    }
                    Some(StopReason::Requested) if self.stopping.is_some() => {}
                    Some(reason) => return Err(format!("member {} stopped by itself: {reason}", self.id)),
                }
                Ok(())
            }
        }
    }

    fn started(
        &mut self,
        runtime: Runtime,
        starting: JoinHandle<Result<Member, StartError>>,
    ) -> Result<(), String> {
        match runtime.block_on(starting).map_err(|error| error.to_string())? {
            Ok(member) => {
                let endpoint = Endpoint { member: member.clone(), runtime: runtime.handle().clone() };
                self.network.attach(self.id, endpoint);
                self.trace.highlight(format_args!("member {} is up", self.id));
                self.state = State::On(runtime, member);
                Ok(())
            }
            Err(_) if self.may_fail => {
                drop(runtime);
                self.crash(Fate::Lost);
                Ok(())
            }
            Err(error) => {
                let causes = service::error::chain(&error);
                Err(format!("member {} does not start: {causes}", self.id))
            }
        }
    }

    /// Stops the member abruptly. Unless `fate` is `Kept`, the machine loses power.
    pub fn crash(&mut self, fate: Fate) {
        self.trace.highlight(format_args!("member {} is gone, its unflushed writes: {fate:?}", self.id));
        self.network.detach(self.id, fate != Fate::Kept);
        self.paused = None;
        self.may_fail = false;
        self.stopping = None;
        self.end();
        self.disk = self.disk.crash(self.disk.steps(), fate);
    }

    /// The runtime must be dropped before the member that its tasks use.
    fn end(&mut self) {
        match std::mem::replace(&mut self.state, State::Off) {
            State::Off => {}
            State::Starting(runtime, starting) => {
                drop(runtime);
                drop(starting);
            }
            State::On(runtime, member) => {
                drop(runtime);
                drop(member);
            }
        }
    }

    /// Requests an orderly stop, which takes time.
    pub fn stop(&mut self) {
        let State::On(runtime, member) = &self.state else { return };
        self.trace.highlight(format_args!("member {} is asked to stop", self.id));
        let member = member.clone();
        self.stopping = Some(runtime.spawn(async move { member.stop().await }));
    }

    pub fn pause(&mut self) {
        if !self.is_off() && self.paused.is_none() {
            self.trace.highlight(format_args!("member {} is paused", self.id));
            self.paused = Some(self.trace.moments.millis());
        }
    }

    /// Its clocks continued while it was paused.
    pub fn resume(&mut self) {
        let Some(since) = self.paused.take() else { return };
        self.trace.highlight(format_args!("member {} goes on", self.id));
        if let State::Starting(runtime, _) | State::On(runtime, _) = &self.state {
            let missed = Duration::from_millis(self.trace.moments.millis() - since);
            runtime.block_on(tokio::time::advance(missed));
        }
    }
}

/// A runtime whose virtual time only advances when it is idle.
pub fn paused_runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // Thread scheduling would not be deterministic.
    builder.on_thread_start(|| super::process::report_violation("a thread was started"));
    builder.enable_time().start_paused(true).build().unwrap()
}
