//! `keelson`: the operator's command line for images, machines and channels.

mod boot_image;
mod channel_image;
mod checkout;
mod cli;
mod config_rb;
mod context;
mod failure;
mod finished_images;
mod global;
mod image;
mod listen_error;
mod machine_tools;
mod output;
mod server_url;
mod update_server;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};
use context::Context;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    if args.next().is_some_and(|name| name == update_worker::WORKER_NAME) {
        let args: Vec<String> = args.map(|argument| argument.to_string_lossy().into_owned()).collect();
        return update_worker::run(&args);
    }
    let cli = Cli::parse();
    match run(&cli) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            failure::print(&error, &cli.global.command());
            failure::exit_code(&error)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let context = Context::new(&cli.global)?;
    match &cli.verb {
        Verb::Doctor(flags) => verbs::doctor::run(&context, flags),
        Verb::Image(flags) => image::run(&context, flags),
        Verb::Up(flags) => verbs::up::run(&context, flags),
        Verb::Status => verbs::status::run(&context),
        Verb::Ssh(flags) => verbs::ssh::run(&context, flags),
        Verb::Console(flags) => verbs::console::run(&context, flags),
        Verb::Crash(flags) => verbs::power::crash(&context, flags),
        Verb::Reboot(flags) => verbs::power::reboot(&context, flags),
        Verb::Start(flags) => verbs::power::start(&context, flags),
        Verb::Down => verbs::down::down(&context),
        Verb::Destroy => verbs::down::destroy(&context),
        Verb::Test(flags) => verbs::test::run(&context, flags),
        Verb::Install(flags) => verbs::install::run(&context, flags),
        Verb::Ca(flags) => verbs::ca::run(&context, flags),
        Verb::Keys(flags) => verbs::keys::run(&context, flags),
        Verb::Release(flags) => verbs::release::run(&context, flags),
        Verb::ConfigDrive(flags) => verbs::config_drive::run(&context, flags),
        Verb::Vagrantfile(flags) => verbs::vagrantfile::run(&context, flags),
        Verb::Validate(flags) => verbs::validate::run(&context, flags),
        Verb::ServeNetboot(flags) => verbs::serve_netboot::run(&context, flags),
        Verb::ServeUpdates(flags) => verbs::serve_updates::run(&context, flags),
        Verb::Publish(flags) => verbs::publish::run(&context, flags),
        Verb::Channel(flags) => verbs::channel::run(&context, flags),
        Verb::FakeMachines(flags) => verbs::fake_machines::run(&context, flags),
        Verb::Completions { shell } => verbs::manual::completions(*shell),
        Verb::Man { out } => verbs::manual::man(out.as_deref()),
        Verb::Internal(task) => verbs::internal::run(task),
    }
}
