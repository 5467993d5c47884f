//! The event loop: feeds events to the [`StateMachine`] and runs its actions.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Zoned;
use locksmith_core::{Action, Clocks, Config, DaemonSettings, Event, Exit, Level, StateMachine, Strategy};
use service::{Stop, notify};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::executor::Executor;
use crate::io::coordinator::{CoordinatorFile, path};
use crate::io::lock_marker::LockMarker;
use crate::io::machine;
use crate::io::update_engine::{EngineEvent, listen};
use crate::limits::REBOOT_REPLY;

/// Queued engine events; further ones wait on the bus.
const QUEUE: usize = 64;

pub fn run(settings: DaemonSettings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = run_daemon(settings) => exit,
            () = notify::run_watchdog() => Ok(ExitCode::SUCCESS),
        }
    });
    // A blocked write to a terminal must not delay the exit.
    runtime.shutdown_background();
    exit
}

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Clocks {
        Clocks { monotonic: self.0.elapsed(), wall: Zoned::now() }
    }
}

async fn run_daemon(settings: DaemonSettings) -> anyhow::Result<ExitCode> {
    let stop = Stop::by_signal().context("signals")?;
    let coordinator = CoordinatorFile::acquire(&path(), settings.strategy);
    let mut coordinator = coordinator.context("unable to become 'update coordinator'")?;
    let config = Config {
        strategy: settings.strategy,
        window: settings.window.clone(),
        fleet_lock: settings.fleet_lock.is_some(),
        may_hold_lock: LockMarker::in_folder(&machine::state_folder()).exists(),
        login_delay: settings.login_delay,
        retry_interval: settings.retry_interval,
    };
    let (completed, mut completions) = mpsc::unbounded_channel();
    let executor = Arc::new(Executor::open(&settings).await?);
    let (event_sender, mut events) = mpsc::channel(QUEUE);
    let mut listening = tokio::spawn(listen(event_sender));
    let (clock, mut machine) = (Clock(Instant::now()), StateMachine::new(config));
    notify::ready(match settings.strategy {
        Strategy::Off => "the reboot strategy is off; releases the reboot lock",
        _ => "waits for an update that needs a reboot",
    });
    let mut event = Event::Started;
    loop {
        for action in machine.step(&clock.now(), event) {
            match action {
                Action::Log(level, text) => log(level, &text),
                Action::SetState(state) => {
                    if let Err(error) = coordinator.write_state(state) {
                        tracing::error!("could not update state file to indicate {state}: {error}");
                    }
                }
                Action::Exit(Exit::Failure) => return Ok(ExitCode::FAILURE),
                Action::Exit(Exit::Success) => {
                    tracing::info!("Reboot strategy is \"off\" - locksmithd is exiting.");
                    return Ok(ExitCode::SUCCESS);
                }
                other => executor.spawn(other, completed.clone()),
            }
        }
        event = tokio::select! {
            biased;
            // Never closed: `completed` is held here too.
            Some(event) = completions.recv() => event,
            () = stopped(stop.clone(), machine.is_requesting_reboot()) => {
                tracing::info!("Received interrupt/termination signal - locksmithd is exiting.");
                notify::stopping();
                return Ok(ExitCode::SUCCESS);
            }
            Some(engine_event) = events.recv() => match engine_event {
                EngineEvent::Appeared(status) => Event::EngineAppeared(status),
                EngineEvent::StatusUpdate(sender, status) => Event::StatusUpdate(sender, status),
                EngineEvent::Disappeared => {
                    tracing::info!("The update agent is not on the bus: waiting for it");
                    Event::Tick
                }
                EngineEvent::BusClosed => bail!("the connection to the system bus is closed"),
            },
            listener_exit = &mut listening => {
                listener_exit.context("listening to the bus")?.context("listening to the bus")?;
                bail!("the connection to the system bus is closed");
            }
            () = wait_until_due(&machine, &clock) => Event::Tick,
        };
    }
}

/// Completes when the daemon is to exit. For the requested reboot systemd may send SIGTERM before logind's reply is
/// here, which is logged first.
async fn stopped(stop: Stop, requesting_reboot: bool) {
    stop.wait().await;
    if requesting_reboot {
        sleep(REBOOT_REPLY).await;
    }
}

/// Completes when the state machine's timeout expires.
async fn wait_until_due(machine: &StateMachine, clock: &Clock) {
    match machine.timeout(&clock.now()) {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

fn log(level: Level, text: &str) {
    match level {
        Level::Error => tracing::error!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
        Level::Notice | Level::Info => tracing::info!("{text}"),
    }
}
