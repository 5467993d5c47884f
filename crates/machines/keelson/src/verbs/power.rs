//! `keelson crash`, `reboot` and `start`: power operations on one machine.

use std::process::ExitCode;

use machines::ready::Ready;
use machines::site::{Site, SiteError, Watcher};
use serde_json::json;

use super::boot_progress::{BootProgress, with_boot_progress};
use super::not_ready::not_ready_error;
use crate::context::Context;
use crate::global::WaitFlags;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Name of the machine
    name: String,
    #[command(flatten)]
    waiting: WaitFlags,
}

pub fn crash(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let step = context.progress.step("crash");
    let site = context.open("crash")?;
    site.crash(&flags.name)?;
    step.done(&format!("{} is powered off", flags.name));
    if context.json {
        output::print_json(&output::status_json(&site.cluster(), &site.status()))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn reboot(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    boot(context, flags, "reboot", &|site, watch| site.reboot(&flags.name, flags.waiting.limit(site), watch))
}

pub fn start(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    boot(context, flags, "start", &|site, watch| site.start(&flags.name, flags.waiting.limit(site), watch))
}

fn boot(
    context: &Context,
    flags: &Flags,
    what: &'static str,
    run: &dyn Fn(&Site, Watcher<'_>) -> Result<Ready, SiteError>,
) -> anyhow::Result<ExitCode> {
    let step = context.progress.step(what);
    step.set(flags.name.clone());
    let site = context.open(what)?;
    let boot_progress = BootProgress::new(site.cluster().backend, 1, 0);
    let (ready, _) = with_boot_progress(context, &step, boot_progress, &|watch| run(&site, watch));
    finish(context, flags, &ready.map_err(|error| not_ready_error(context, &site, error))?, step)
}

fn finish(context: &Context, flags: &Flags, ready: &Ready, step: progress::Step) -> anyhow::Result<ExitCode> {
    let failed = match ready.failed_units.len() {
        0 => String::new(),
        _ => format!(", failed units: {}", ready.failed_units.join(", ")),
    };
    let seconds = step.done(&format!("{} is ready{failed}", flags.name)).as_secs_f64();
    if context.json {
        output::print_json(&json!({ "name": flags.name, "ready": ready, "seconds": seconds }))?;
    }
    Ok(ExitCode::SUCCESS)
}
