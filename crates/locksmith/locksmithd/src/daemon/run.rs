//! The loop: what happens goes into a [`Life`], and what it wants is done.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Zoned;
use locksmith_core::{Action, DaemonSettings, Event, Exit, Level, Life, Now, Rules, Strategy};
use service::{Stop, notify};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::work::Hands;
use crate::hands::coordinator::{Held, file};
use crate::hands::engine::{News, listen};
use crate::hands::lock_marker::LockMarker;
use crate::hands::machine;

/// News that wait to be looked at; more of them wait on the bus.
const QUEUE: usize = 64;

pub fn run(settings: DaemonSettings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = whole(settings) => done,
            () = notify::run_watchdog() => Ok(ExitCode::SUCCESS),
        }
    });
    // A terminal that cannot be written to must not hold the end up.
    runtime.shutdown_background();
    done
}

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        Now { running: self.0.elapsed(), wall: Zoned::now() }
    }
}

async fn whole(settings: DaemonSettings) -> anyhow::Result<ExitCode> {
    let stop = Stop::by_signal().context("signals")?;
    let held = Held::take(&file(), settings.strategy);
    let mut held = held.context("unable to become 'update coordinator'")?;
    let rules = Rules {
        strategy: settings.strategy,
        window: settings.window.clone(),
        fleet_lock: settings.fleet_lock.is_some(),
        may_hold_lock: LockMarker::in_folder(&machine::state_folder()).exists(),
        login_delay: settings.login_delay,
        retry_interval: settings.retry_interval,
    };
    let (done, mut ended) = mpsc::unbounded_channel();
    let hands = Arc::new(Hands::open(&settings).await?);
    let (news, mut heard) = mpsc::channel(QUEUE);
    let mut listening = tokio::spawn(listen(news));
    let (clock, mut life) = (Clock(Instant::now()), Life::new(rules));
    notify::ready(match settings.strategy {
        Strategy::Off => "the reboot strategy is off; releases the reboot lock",
        _ => "waits for an update that needs a reboot",
    });
    let mut event = Event::Started;
    loop {
        for action in life.step(&clock.now(), event) {
            match action {
                Action::Log(level, text) => log(level, &text),
                Action::Coordinate(state) => {
                    if let Err(error) = held.say(state) {
                        tracing::error!("could not update state file to indicate {state}: {error}");
                    }
                }
                Action::Exit(Exit::Failure) => return Ok(ExitCode::FAILURE),
                Action::Exit(Exit::Success) => {
                    tracing::info!("Reboot strategy is \"off\" - locksmithd is exiting.");
                    return Ok(ExitCode::SUCCESS);
                }
                work => hands.begin(work, done.clone()),
            }
        }
        event = tokio::select! {
            () = stop.clone().wait() => {
                tracing::info!("Received interrupt/termination signal - locksmithd is exiting.");
                notify::stopping();
                return Ok(ExitCode::SUCCESS);
            }
            // We hold the sender, too.
            Some(event) = ended.recv() => event,
            Some(news) = heard.recv() => match news {
                News::There(status) => Event::Engine(status),
                News::Said(sender, status) => Event::Status(sender, status),
                News::Gone => {
                    tracing::info!("The update agent is not on the bus: waiting for it");
                    Event::Tick
                }
                News::Lost => bail!("the system bus is gone"),
            },
            ended = &mut listening => {
                ended.context("listening to the bus")?.context("listening to the bus")?;
                bail!("the system bus is gone");
            }
            () = rest(&life, &clock) => Event::Tick,
        };
    }
}

/// As long as nothing is to be done.
async fn rest(life: &Life, clock: &Clock) {
    match life.sleep(&clock.now()) {
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
