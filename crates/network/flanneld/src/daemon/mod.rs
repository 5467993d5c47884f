//! The daemon.

mod acquire;
mod comparison;
mod data_plane;
mod healthz;
mod overlay;
mod plan;
mod run;

use std::process::ExitCode;

use command_line::before_arguments_or_help;
use flannel_core::{FLAGS, Invocation, Settings};
use service::Stop;
use tracing::Level;
use tracing_subscriber::filter::Targets;

use crate::version::VERSION;

/// Libraries that log only warnings.
const QUIET: [&str; 3] = ["hyper", "rustls", "netlink_proto"];

pub fn main(arguments: &[String]) -> ExitCode {
    let args = match before_arguments_or_help(FLAGS, arguments) {
        Ok(args) => args,
        Err(bad) => {
            eprintln!("{}", bad.0);
            return ExitCode::from(2);
        }
    };
    if args.wants_help() {
        usage();
        return ExitCode::SUCCESS;
    }
    if args.is_set("version") {
        eprintln!("{VERSION}");
        return ExitCode::SUCCESS;
    }
    let settings = match flannel_core::settings(&args, &|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let targets =
        Targets::new().with_default(Level::INFO).with_targets(QUIET.map(|name| (name, Level::WARN)));
    if let Err(error) = service::log::start("flanneld", targets) {
        eprintln!("error: {}", service::error::chain(&error));
        return ExitCode::FAILURE;
    }
    match start(settings) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The original writes its usage to stderr, too.
fn usage() {
    eprintln!("Usage: flanneld [OPTION]...\n");
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        let default = match flag.default_value() {
            "" => String::new(),
            default => format!(" (default {default})"),
        };
        eprintln!("  -{}\n    \t{}{default}", flag.usage().trim_start_matches('-'), flag.help);
    }
    eprintln!("\nEach flag may be set as a variable: FLANNELD_ETCD_ENDPOINTS for -etcd-endpoints.");
    eprintln!("\nExamples:");
    eprintln!("  flanneld -iface=eth1 -ip-masq");
    eprintln!("  flanneld -plan");
    eprintln!("  flanneld -teardown");
}

fn start(settings: Settings) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = Stop::by_signal()?;
        match settings.invocation {
            Invocation::Run => run::run(&settings, stop).await,
            Invocation::Plan => plan::print(&settings).await,
            Invocation::Teardown => plan::teardown(&settings).await,
        }
    })
}
