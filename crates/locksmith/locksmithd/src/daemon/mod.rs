//! The daemon: waits for a needed reboot and performs it under the lock.

mod executor;
mod run;

use std::path::Path;
use std::process::ExitCode;

use command_line::{Flag, before_arguments};
use locksmith_core::{DAEMON_FLAGS, DaemonMode, FLAGS};
use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::io::{lock_marker, machine};
use crate::version::VERSION;

/// Libraries that log only warnings.
const QUIET: [&str; 3] = ["hyper", "rustls", "zbus"];
/// A restart does not help: a setting is invalid. systemd does not restart on it.
const EXIT_USAGE: u8 = 2;

pub fn main(arguments: &[String]) -> ExitCode {
    let flags: Vec<Flag> = [FLAGS, DAEMON_FLAGS].concat();
    let args = match before_arguments(&flags, arguments) {
        Ok(args) => args,
        Err(bad) => {
            eprintln!("{}", bad.0);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.wants_help() {
        println!("Usage of locksmithd:");
        flags.iter().for_each(|flag| println!("  {}\n    \t{}", flag.usage(), flag.help));
        return ExitCode::SUCCESS;
    }
    if args.is_set("version") {
        println!("locksmithd version {VERSION}");
        return ExitCode::SUCCESS;
    }
    let defaults = credential();
    let settings = locksmith_core::daemon_mode(&args, &|name| variable(name, &defaults));
    let debug = matches!(&settings, Ok(DaemonMode::Run(settings)) if settings.store.debug);
    let level = if debug { Level::DEBUG } else { Level::INFO };
    let targets = Targets::new().with_default(level).with_targets(QUIET.map(|name| (name, Level::WARN)));
    if let Err(error) = service::log::start("locksmithd", targets) {
        eprintln!("error: {}", service::error::chain(&error));
        return ExitCode::FAILURE;
    }
    let settings = match settings {
        Ok(DaemonMode::Off(Some(settings))) if lock_marker::is_release_due(&machine::state_folder()) => {
            Ok(DaemonMode::Run(settings))
        }
        settings => settings,
    };
    match settings {
        Ok(DaemonMode::Off(_)) => {
            // Required by `Type=notify` even if the service exits immediately.
            service::notify::ready("the reboot strategy is off");
            tracing::info!("Reboot strategy is \"off\" - locksmithd is exiting.");
            ExitCode::SUCCESS
        }
        Ok(DaemonMode::Run(settings)) => match run::run(*settings) {
            Ok(code) => code,
            Err(error) => {
                tracing::error!("{error:#}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Settings of the systemd credential `locksmith.environment`, as `NAME=value` lines; empty if missing.
fn credential() -> String {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else { return String::new() };
    std::fs::read_to_string(Path::new(&folder).join("locksmith.environment")).unwrap_or_default()
}

/// An environment variable, else the setting of the credential.
fn variable(name: &str, defaults: &str) -> Option<String> {
    let from_credential = || {
        let line = defaults.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(str::to_owned)
    };
    std::env::var(name).ok().or_else(from_credential)
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn credential_has_the_lowest_priority() {
        let defaults = "LOCKSMITHD_ENDPOINT=https://a:1\nPATH=/nowhere\n";
        assert_eq!(variable("LOCKSMITHD_ENDPOINT", defaults).as_deref(), Some("https://a:1"));
        assert_eq!(variable("LOCKSMITHD_END", defaults), None);
        assert_ne!(variable("PATH", defaults).as_deref(), Some("/nowhere"));
    }
}
