//! The log filter, whose level can be changed at run time.

use std::sync::Arc;

use etcd_config::config::Log;
use etcd_http::SetLogLevel;
use tracing::Level;
use tracing_subscriber::filter::Targets;

/// Levels of libraries. openraft warns of each request to an unreachable member, twenty to forty times per second;
/// the member's links log that once.
const LIBRARY_LEVELS: [(&str, Level); 3] =
    [("openraft", Level::ERROR), ("hyper", Level::WARN), ("rustls", Level::WARN)];

/// Starts logging. Returns a function that changes the level, or returns false for an unknown one.
pub fn start(config: &Log) -> anyhow::Result<SetLogLevel> {
    let level = if config.debug { Level::DEBUG } else { Level::INFO };
    let packages = config.package_levels.clone().unwrap_or_default();
    let filter = service::log::start("etcd", targets(level, &packages))?;
    Ok(Arc::new(move |name: &str| {
        parse_level(name).is_some_and(|level| filter.set(targets(level, &packages)))
    }))
}

/// Parses `etcdserver=DEBUG,raft=WARN`. Names of the original's packages are accepted without effect.
fn targets(level: Level, packages: &str) -> Targets {
    let libraries =
        LIBRARY_LEVELS.map(|(name, usual)| (name, if level >= Level::DEBUG { Level::INFO } else { usual }));
    let configured = packages.split(',').filter_map(|pair| {
        let (name, level) = pair.split_once('=')?;
        Some((name.to_owned(), parse_level(level)?))
    });
    Targets::new().with_default(level).with_targets(libraries).with_targets(configured)
}

/// The level names that clients of etcd use.
fn parse_level(name: &str) -> Option<Level> {
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
        assert_eq!(parse_level("loud"), None);
    }
}
