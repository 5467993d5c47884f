//! `flanneld` leases a subnet for this host's containers and connects them with those of other hosts;
//! `mk-docker-opts.sh` writes the options with which Docker uses the subnet.
//!
//! One binary with two names; `argv[0]` selects the program.

mod daemon;
mod docker_opts;
mod io;
mod limits;
mod version;

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut all = std::env::args_os();
    let program = all.next().unwrap_or_default();
    let arguments = match command_line::utf8_arguments(all) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with("mk-docker-opts") {
        docker_opts::main(&name, &arguments)
    } else {
        daemon::main(&arguments)
    }
}
