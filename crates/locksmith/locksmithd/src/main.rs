//! `locksmithd` and `locksmithctl`: when this machine may reboot, and the lock that a cluster shares for it.
//!
//! One file with two names; the one that it is called by says which program it is.

mod ctl;
mod daemon;
mod hands;
mod limits;
mod version;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = Vec::new();
    let mut given = std::env::args_os();
    let called = given.next().unwrap_or_default();
    for argument in given {
        match argument.into_string() {
            Ok(word) => words.push(word),
            Err(other) => {
                eprintln!("the argument {other:?} is not UTF-8");
                return ExitCode::from(2);
            }
        }
    }
    let is_daemon = Path::new(&called).file_name().is_some_and(|name| name == "locksmithd");
    if is_daemon { daemon::main(&words) } else { ctl::main(&words) }
}
