//! `list-machines`: lists the present machines.

use command_line::ParsedArgs;
use fleet_api::Machine;
use serde_json::json;

use crate::columns::{Column, FULL, JSON, NO_LEGEND, WATCH, fields, or_dash, rows, selected_columns};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::short_id;
use crate::listing::{Listing, print_list};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "list-machines",
    arguments: "",
    summary: "list the machines in the cluster",
    description: &["Fields: machine, ip, metadata; cordon (open, cordoned, draining)."],
    flags: &[FULL, NO_LEGEND, fields("machine,ip,metadata"), JSON, WATCH],
    examples: &[
        ("fleetctl list-machines -l", "print full machine ids"),
        ("fleetctl list-machines --fields=machine,cordon", "show which machines are cordoned"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const COLUMNS: &[Column<Machine>] = &[
    Column { name: "machine", cell: |machine, full| short_id(&machine.id, full) },
    Column { name: "ip", cell: |machine, _| or_dash(&machine.primary_ip) },
    Column { name: "metadata", cell: |machine, _| or_dash(&metadata(machine)) },
    Column { name: "cordon", cell: |machine, _| machine.cordon.to_string() },
];

fn metadata(machine: &Machine) -> String {
    let pairs: Vec<_> = machine.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let columns = selected_columns(args, COLUMNS)?;
    let registry = session.registry().await?;
    print_list(args, async || {
        let machines = registry.machines().await.map_err(|cause| {
            Failure::new(format!(
                "Error retrieving list of active machines from fleet API ({cause})\n\
                 Possible issues:\n  etcd is unhealthy and/or lost quorum\n  \
                 connection cannot be established to any etcd servers"
            ))
        })?;
        let table = rows(&columns, &machines, args);
        Ok(Listing { table, json: json!({ "machines": machines }) })
    })
    .await
}
