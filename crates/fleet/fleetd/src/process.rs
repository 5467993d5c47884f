//! Log levels and directories of fleetd and `fleetd fence`.

use std::path::PathBuf;

use tracing::Level;
use tracing_subscriber::filter::Targets;

/// Libraries with warnings only.
const QUIET_TARGETS: [&str; 3] = ["hyper", "rustls", "zbus"];

pub fn log_targets(debug: bool) -> Targets {
    let level = if debug { Level::DEBUG } else { Level::INFO };
    Targets::new().with_default(level).with_targets(QUIET_TARGETS.map(|name| (name, Level::WARN)))
}

/// The first of the directories that systemd passes in a variable, else the default.
pub fn directory(variable: &str, default: &str) -> PathBuf {
    let value = std::env::var(variable).unwrap_or_default();
    value.split(':').next().filter(|path| !path.is_empty()).unwrap_or(default).into()
}
