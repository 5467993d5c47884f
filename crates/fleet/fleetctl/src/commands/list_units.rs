//! `list-units`: lists the unit states that machines report.

use command_line::ParsedArgs;
use fleet_api::UnitState;
use serde_json::json;

use crate::columns::{Column, FULL, JSON, NO_LEGEND, WATCH, fields, or_dash, rows, selected_columns};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::Machines;
use crate::listing::{Listing, print_list};
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "list-units",
    arguments: "",
    summary: "list loaded units with their systemd state",
    description: &[
        "Fields: active, hash, load, machine, reason, sub, unit. REASON is why a unit failed to load or start.",
    ],
    flags: &[FULL, NO_LEGEND, fields("unit,machine,active,sub"), JSON, WATCH],
    examples: &[
        ("fleetctl list-units", "list all units by name and machine"),
        ("fleetctl list-units --no-legend --fields=unit,active", "print output for scripts"),
        ("fleetctl list-units --fields=unit,load,reason", "show why units are not loaded"),
        ("fleetctl list-units --watch", "print changes until interrupted"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

struct Row {
    state: UnitState,
    short: String,
    full: String,
}

const COLUMNS: &[Column<Row>] = &[
    Column { name: "active", cell: |row, _| or_dash(&row.state.systemd_active_state) },
    Column {
        name: "hash",
        cell: |row, full| {
            let length = if full { 40 } else { 7 };
            or_dash(&row.state.hash.chars().take(length).collect::<String>())
        },
    },
    Column { name: "load", cell: |row, _| or_dash(&row.state.systemd_load_state) },
    Column { name: "machine", cell: |row, full| or_dash(if full { &row.full } else { &row.short }) },
    Column {
        name: "reason",
        cell: |row, _| or_dash(row.state.refusal.as_ref().map_or("", |refusal| refusal.cause.as_str())),
    },
    Column { name: "sub", cell: |row, _| or_dash(&row.state.systemd_sub_state) },
    Column { name: "unit", cell: |row, _| row.state.name.clone() },
];

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let columns = selected_columns(args, COLUMNS)?;
    let registry = session.registry().await?;
    let failed = |cause| Failure::new(format!("Error retrieving list of units from repository: {cause}"));
    print_list(args, async || {
        let mut states = registry.states().await.map_err(failed)?;
        states.sort_by(|a, b| (&a.name, &a.machine_id).cmp(&(&b.name, &b.machine_id)));
        let document = json!({ "states": states });
        let machines = match states.is_empty() {
            true => Machines::default(),
            false => Machines::new(registry.machines().await.map_err(failed)?),
        };
        let legend = |id: &str, full| match id {
            "" => String::new(),
            id => machines.legend(id, full),
        };
        let list: Vec<Row> = states
            .into_iter()
            .map(|state| Row {
                short: legend(&state.machine_id, false),
                full: legend(&state.machine_id, true),
                state,
            })
            .collect();
        Ok(Listing { table: rows(&columns, &list, args), json: document })
    })
    .await
}
