//! `keelson down` and `destroy`: stop the machines; `destroy` also removes their files.

use std::process::ExitCode;

use machines::site::{Site, destroy_damaged};
use machines::store::StoreError;
use serde_json::json;

use crate::context::{Context, interrupt};
use crate::output;

pub fn down(context: &Context) -> anyhow::Result<ExitCode> {
    let step = context.progress.step("down");
    step.set("waiting for the machines to shut down");
    let site = context.open("down")?;
    let cut = site.down()?;
    step.done("all machines are stopped; keelson up starts them");
    if !cut.is_empty() {
        eprintln!(
            "warning: {} did not shut down in time: the power was cut, and unwritten data may be lost",
            cut.join(", ")
        );
    }
    if context.json {
        output::print_json(&output::status_json(&site.cluster(), &site.status()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Idempotent.
pub fn destroy(context: &Context) -> anyhow::Result<ExitCode> {
    let step = context.progress.step("destroy");
    let existed = remove(context)?;
    step.done(if existed { "machines and disks removed" } else { "nothing to remove" });
    if context.json {
        output::print_json(&json!({ "cluster": context.cluster, "removed": existed }))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Removes the cluster, even with a damaged state, and leftovers of an incomplete `up`. Returns whether there was
/// anything.
fn remove(context: &Context) -> anyhow::Result<bool> {
    let layout = context.layout()?;
    if !layout.is_used() {
        return Ok(false);
    }
    let cancel = interrupt()?;
    let lock = context.lock("destroy", &cancel)?;
    match layout.load() {
        Ok(Some(_)) => Site::open(layout, lock, context.background.clone(), cancel)?.destroy()?,
        Ok(None) | Err(StoreError::Damaged { .. } | StoreError::Format { .. }) => {
            destroy_damaged(&layout, lock, &context.background)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}
