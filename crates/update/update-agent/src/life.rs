//! The daemon from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use anyhow::Context;
use service::{Stop, log, notify};
use tracing_subscriber::filter::{LevelFilter, Targets};
use update_core::schedule::{INTERVALS, Intervals};
use update_engine::{Places, Updater};

use crate::bus::{Additions, Manager, NAME, PATH, tell};
use crate::engine::{Engine, Order, Shared};
use crate::tempo::{patience, seconds};

/// `update_engine`. Flags of the original (`-foreground`, `-logtostderr`) change nothing here.
pub fn run(places: &Places, args: &[String]) -> ExitCode {
    if args.iter().skip(1).any(|arg| arg.trim_start_matches('-') == "help") {
        println!("Usage: update_engine [-foreground] [-logtostderr]\n\nRun by update-engine.service.");
        return ExitCode::SUCCESS;
    }
    match live(places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn live(places: &Places) -> anyhow::Result<()> {
    log::start("update_engine", Targets::new().with_default(LevelFilter::INFO))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(serve(places))
}

async fn serve(places: &Places) -> anyhow::Result<()> {
    let stop = Stop::by_signal().context("the signals to end cannot be heard")?;
    let updater = Updater::new(places, patience())?;
    let (changes, changed) = tokio::sync::mpsc::unbounded_channel();
    let (orders, waiting) = mpsc::channel();
    let shared = Arc::new(Shared::new(changes));
    let engine = Engine::new(places, updater, shared.clone(), intervals());
    let connection = zbus::connection::Builder::system()
        .serve_at(PATH, Manager { shared: shared.clone(), orders: orders.clone() })
        .serve_at(PATH, Additions { orders: orders.clone() })
        .name(NAME)
        .build()
        .await
        .context("the system bus does not take this service")?;
    let work = std::thread::Builder::new().name("engine".to_owned()).spawn(move || engine.run(&waiting))?;
    notify::ready("waits for the next check");
    tokio::select! {
        told = tell(connection, changed) => told.context("the system bus is gone")?,
        () = stop.wait() => {}
    }
    notify::stopping();
    shared.stop();
    // The engine may be gone already.
    drop(orders.send(Order::Stop));
    tokio::task::spawn_blocking(move || work.join()).await.ok();
    Ok(())
}

/// With what drop-ins say, in seconds.
fn intervals() -> Intervals {
    Intervals {
        first: seconds("UPDATE_ENGINE_FIRST_CHECK", INTERVALS.first),
        usual: seconds("UPDATE_ENGINE_INTERVAL", INTERVALS.usual),
        fuzz: seconds("UPDATE_ENGINE_FUZZ", INTERVALS.fuzz),
    }
}
