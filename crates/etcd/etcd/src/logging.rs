//! What of the log is written; its level can be changed while the server runs.

use std::sync::Arc;

use etcd_config::config::Log;
use etcd_http::SetLogLevel;
use tracing::Level;
use tracing_subscriber::filter::Targets;

/// Libraries whose daily business is nobody's news, and what of them is. openraft warns of each request that a member
/// does not answer, twenty to forty times a second: the member's links tell once that it is away.
const QUIET: [(&str, Level); 3] =
    [("openraft", Level::ERROR), ("hyper", Level::WARN), ("rustls", Level::WARN)];

/// Sets up the log; gives what changes its level: false for a level that there is not.
pub fn start(config: &Log) -> anyhow::Result<SetLogLevel> {
    let level = if config.debug { Level::DEBUG } else { Level::INFO };
    let packages = config.package_levels.clone().unwrap_or_default();
    let filter = service::log::start("etcd", targets(level, &packages))?;
    Ok(Arc::new(move |name: &str| level_of(name).is_some_and(|level| filter.set(targets(level, &packages)))))
}

/// `etcdserver=DEBUG,raft=WARN`: names of the original's packages match none of ours and are let pass.
fn targets(level: Level, packages: &str) -> Targets {
    let quiet = QUIET.map(|(name, usual)| (name, if level >= Level::DEBUG { Level::INFO } else { usual }));
    let given = packages.split(',').filter_map(|pair| {
        let (name, level) = pair.split_once('=')?;
        Some((name.to_owned(), level_of(level)?))
    });
    Targets::new().with_default(level).with_targets(quiet).with_targets(given)
}

/// The names that etcd's clients send.
fn level_of(name: &str) -> Option<Level> {
    Some(match name.to_ascii_uppercase().as_str() {
        "TRACE" | "T" => Level::TRACE,
        "DEBUG" | "D" => Level::DEBUG,
        "INFO" | "I" | "NOTICE" | "N" => Level::INFO,
        "WARNING" | "WARN" | "W" => Level::WARN,
        "ERROR" | "E" | "CRITICAL" | "C" => Level::ERROR,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_packages_and_of_libraries() {
        let info = targets(Level::INFO, "member=DEBUG,raft=WARN,noise,x=loud");
        assert!(info.would_enable("member", &Level::DEBUG));
        assert!(!info.would_enable("etcd", &Level::DEBUG));
        assert!(!info.would_enable("openraft::core", &Level::WARN));
        assert!(
            info.would_enable("openraft::core", &Level::ERROR) && info.would_enable("hyper", &Level::WARN)
        );
        assert!(targets(Level::DEBUG, "").would_enable("openraft::core", &Level::WARN));
        assert!(targets(Level::DEBUG, "").would_enable("etcd", &Level::DEBUG));
        assert_eq!(level_of("loud"), None);
    }
}
