//! `update-agent`: updates this machine into its other slot. Under its older names it is the daemon
//! (`update_engine`) and its client (`update_engine_client`).

mod bus;
mod client;
mod commands;
mod engine;
mod life;
mod status_file;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use updater::{Patience, Places};

/// Attempts at one transfer that bring nothing, and the pause between them (the contract's 2.5.3).
const PATIENCE: Patience = Patience { attempts: 20, pause: Duration::from_secs(20) };

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let name = args.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
    // Set by tests alone: a machine in a folder.
    let root = std::env::var_os("UPDATE_AGENT_ROOT").unwrap_or_else(|| "/".into());
    let places = Places::new(Path::new(&root));
    match name.to_str() {
        Some("update_engine") => life::run(&places, &args),
        Some("update_engine_client") => client::run(&args),
        _ => commands::run(&places, &args),
    }
}

/// A duration of a drop-in, in seconds.
fn seconds(variable: &str, usual: Duration) -> Duration {
    let value = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    value.map_or(usual, Duration::from_secs)
}

/// With what drop-ins say, so that no test waits for a clock.
fn patience() -> Patience {
    Patience { pause: seconds("UPDATE_ENGINE_RETRY_PAUSE", PATIENCE.pause), ..PATIENCE }
}
