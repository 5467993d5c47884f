//! `update-agent`: updates this machine into its other slot. Under its older names it is the daemon
//! (`update_engine`) and its client (`update_engine_client`).

mod bus;
mod client;
mod commands;
mod engine;
mod life;
mod status_file;
mod tempo;

use std::path::Path;
use std::process::ExitCode;

use update_engine::Places;

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
