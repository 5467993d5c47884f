//! What fleetd and its fence have alike as processes: where they log what, and where their files are.

use std::path::PathBuf;

use tracing::Level;
use tracing_subscriber::filter::Targets;

/// Libraries whose daily business is nobody's news.
const QUIET: [&str; 3] = ["hyper", "rustls", "zbus"];

pub fn log_targets(debug: bool) -> Targets {
    let level = if debug { Level::DEBUG } else { Level::INFO };
    Targets::new().with_default(level).with_targets(QUIET.map(|name| (name, Level::WARN)))
}

/// systemd may name several; the first is ours.
pub fn folder(variable: &str, otherwise: &str) -> PathBuf {
    let given = std::env::var(variable).unwrap_or_default();
    given.split(':').next().filter(|path| !path.is_empty()).unwrap_or(otherwise).into()
}
