//! The daemon.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;

use anyhow::Context;
use service::{Stop, log, notify};
use tracing_subscriber::filter::{LevelFilter, Targets};
use update_core::schedule::{INTERVALS, Intervals};
use update_engine::{Isolation, Paths, Updater};

use crate::bus::{KeelsonManager, Manager, NAME, PATH, emit_changes};
use crate::engine::{Command, Engine, Shared};
use crate::timing::{retry_policy, seconds};

/// `update_engine`. Ignores the original's flags (`-foreground`, `-logtostderr`).
pub fn run(paths: &Paths, args: &[String]) -> ExitCode {
    if args.iter().skip(1).any(|arg| arg.trim_start_matches('-') == "help") {
        println!("Usage: update_engine [-foreground] [-logtostderr]\n\nRun by update-engine.service.");
        return ExitCode::SUCCESS;
    }
    match start_runtime(paths) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_runtime(paths: &Paths) -> anyhow::Result<()> {
    log::start("update_engine", Targets::new().with_default(LevelFilter::INFO))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(serve(paths))
}

async fn serve(paths: &Paths) -> anyhow::Result<()> {
    let stop = Stop::by_signal().context("cannot handle signals")?;
    let updater = Updater::new(paths, retry_policy(), Isolation::own_program())?;
    let (changes, changed_status) = tokio::sync::mpsc::unbounded_channel();
    let (commands, receiver) = mpsc::channel();
    let shared = Arc::new(Shared::new(changes));
    let engine = Engine::new(paths, updater, shared.clone(), intervals());
    let connection = zbus::connection::Builder::system()
        .serve_at(PATH, Manager { shared: shared.clone(), commands: commands.clone() })
        .serve_at(PATH, KeelsonManager { commands: commands.clone() })
        .name(NAME)
        .build()
        .await
        .context("cannot register the service on the system bus")?;
    let worker =
        std::thread::Builder::new().name("engine".to_owned()).spawn(move || engine.run(&receiver))?;
    notify::ready("Waiting for the next update check");
    tokio::select! {
        result = emit_changes(connection, changed_status) => result.context("lost the connection to the system bus")?,
        () = stop.wait() => {}
    }
    notify::stopping();
    shared.stop();
    // The worker thread may have exited.
    drop(commands.send(Command::Stop));
    tokio::task::spawn_blocking(move || worker.join()).await.ok();
    Ok(())
}

/// The check intervals, with overrides in seconds from the environment.
fn intervals() -> Intervals {
    Intervals {
        initial: seconds("UPDATE_ENGINE_FIRST_CHECK", INTERVALS.initial),
        periodic: seconds("UPDATE_ENGINE_INTERVAL", INTERVALS.periodic),
        fuzz: seconds("UPDATE_ENGINE_FUZZ", INTERVALS.fuzz),
    }
}
