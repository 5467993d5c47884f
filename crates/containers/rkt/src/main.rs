//! `rkt`: containers as units, without a daemon: images in a store, pods that `rkt run` runs in the foreground.
//!
//! This file converts process arguments to strings and a failure to an exit code.

mod command;
mod commands;
mod context;
mod crun;
mod exit_code;
mod images;
mod launch;
mod limits;
mod network;
mod pod_folder;
mod pod_init;
mod pods;
mod prepare;
mod registry;
mod run;
mod run_file;
mod stdout;
mod times;
mod trusted_keys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match command_line::utf8_arguments(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("rkt: {error}");
            return ExitCode::from(exit_code::FAILURE);
        }
    };
    if std::env::args_os().next().is_some_and(|name| name == oci_store::DECOMPRESSOR_NAME) {
        return oci_store::run_decompressor(&arguments);
    }
    match run::run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !stdout::is_closed_pipe(&error) {
                eprintln!("{}", service::error::chain(error.as_ref()));
            }
            ExitCode::from(exit_code::FAILURE)
        }
    }
}
