//! `update-agent`: installs updates into the inactive slot. Called as `update_engine` it is the daemon, called as
//! `update_engine_client` the daemon's client. It starts itself as `update-worker`.

mod bus;
mod client;
mod commands;
mod daemon;
mod engine;
mod status_file;
mod timing;

use std::path::Path;
use std::process::ExitCode;

use update_engine::Paths;

fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let name = args.first().and_then(|path| Path::new(path).file_name()).unwrap_or_default();
    // For tests only.
    let root = std::env::var_os("UPDATE_AGENT_ROOT").unwrap_or_else(|| "/".into());
    let paths = Paths::new(Path::new(&root));
    match name.to_str() {
        Some("update_engine") => daemon::run(&paths, &args),
        Some(update_worker::WORKER_NAME) => update_worker::run(args.get(1..).unwrap_or_default()),
        Some("update_engine_client") => client::run(&args),
        _ => commands::run(&paths, &args),
    }
}
