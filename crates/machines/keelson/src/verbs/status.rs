//! `keelson status`: the state of the machines. Takes no lock.

use std::process::ExitCode;

use machines::status;

use crate::context::Context;
use crate::output;

pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let cluster = context.load()?;
    let nodes = status::of(&context.layout()?, &cluster);
    if context.json {
        output::print_json(&output::status_json(&cluster, &nodes))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (table, failed) = (output::status_table(&nodes), output::failed_units(&nodes));
    output::print(format!(
        "{table}\n{}{}{failed}",
        output::cluster_notes(&cluster),
        output::profiles(&nodes)
    ))?;
    Ok(ExitCode::SUCCESS)
}
