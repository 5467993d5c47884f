//! `keelson down` and `destroy`: stops the machines; the second also removes their files.

use std::process::ExitCode;

use serde_json::json;

use crate::context::Context;
use crate::output;

pub fn down(context: &Context) -> anyhow::Result<ExitCode> {
    let step = context.progress.step("down");
    step.set("waiting for the machines to shut down");
    let site = context.open("down")?;
    site.down()?;
    step.done("all machines are off; keelson up boots them again");
    if context.json {
        output::print_json(&output::status_json(&context.cluster, &site.status()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Running it twice is safe: what is gone is gone.
pub fn destroy(context: &Context) -> anyhow::Result<ExitCode> {
    let step = context.progress.step("destroy");
    let existed = context.layout()?.load()?.is_some();
    if existed {
        context.open("destroy")?.destroy()?;
    }
    step.done(if existed { "machines and their disks are removed" } else { "there is nothing to remove" });
    if context.json {
        output::print_json(&json!({ "cluster": context.cluster, "removed": existed }));
    }
    Ok(ExitCode::SUCCESS)
}
