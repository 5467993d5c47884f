//! `list-unit-files`: lists all units in the registry with their target machines.

use command_line::ParsedArgs;
use fleet_api::Unit;
use serde_json::{Value, json};

use crate::columns::{Column, FULL, JSON, NO_LEGEND, WATCH, fields, or_dash, rows, selected_columns};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::legend::Machines;
use crate::listing::{Listing, print_list};
use crate::lookup::is_global;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "list-unit-files",
    arguments: "",
    summary: "list all units with their desired state and target machine",
    description: &[
        "Fields: desc, dstate, global, hash, state, target, unit.",
        "DSTATE is the desired state, STATE the current state.",
    ],
    flags: &[FULL, NO_LEGEND, fields("unit,hash,dstate,state,target"), JSON, WATCH],
    examples: &[
        ("fleetctl list-unit-files", "list all units by name"),
        ("fleetctl list-unit-files --fields=unit,desc", "print descriptions"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

struct Row {
    unit: Unit,
    hash: String,
    description: String,
    global: bool,
    short: String,
    full: String,
}

const TARGET: fn(&Row, bool) -> String = |row, full| match (row.global, full) {
    (true, _) => "global".to_owned(),
    (false, true) => or_dash(&row.full),
    (false, false) => or_dash(&row.short),
};

const COLUMNS: &[Column<Row>] = &[
    Column { name: "desc", cell: |row, _| or_dash(&row.description) },
    Column { name: "dstate", cell: |row, _| or_dash(&row.unit.desired_state) },
    Column { name: "global", cell: |row, _| row.global.to_string() },
    Column {
        name: "hash",
        cell: |row, full| if full { row.hash.clone() } else { row.hash.chars().take(7).collect() },
    },
    Column {
        name: "state",
        cell: |row, _| if row.global { "-".to_owned() } else { or_dash(&row.unit.current_state) },
    },
    Column { name: "target", cell: TARGET },
    Column { name: "tmachine", cell: TARGET },
    Column { name: "unit", cell: |row, _| row.unit.name.clone() },
];

impl Row {
    fn new(unit: Unit, machines: &Machines) -> Row {
        let file = unit.file();
        let legend = |full| match unit.machine_id.as_str() {
            "" => String::new(),
            id => machines.legend(id, full),
        };
        Row {
            hash: file.hash().to_string(),
            description: file.description().unwrap_or_default().to_owned(),
            global: is_global(&unit),
            short: legend(false),
            full: legend(true),
            unit,
        }
    }

    fn json(&self) -> Value {
        let unit = &self.unit;
        json!({
            "unit": unit.name, "hash": self.hash, "desiredState": unit.desired_state,
            "currentState": unit.current_state, "machineID": unit.machine_id, "global": self.global,
            "description": self.description, "schedulingMessage": unit.scheduling_message,
        })
    }
}

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let columns = selected_columns(args, COLUMNS)?;
    let registry = session.registry().await?;
    let failed = |cause| Failure::new(format!("Error retrieving list of units from repository: {cause}"));
    print_list(args, async || {
        let mut units = registry.units().await.map_err(failed)?;
        units.sort_by(|a, b| a.name.cmp(&b.name));
        let machines = match units.iter().any(|unit| !unit.machine_id.is_empty()) {
            false => Machines::default(),
            true => Machines::new(registry.machines().await.map_err(failed)?),
        };
        let list: Vec<Row> = units.into_iter().map(|unit| Row::new(unit, &machines)).collect();
        let json = json!({ "units": list.iter().map(Row::json).collect::<Vec<_>>() });
        Ok(Listing { table: rows(&columns, &list, args), json })
    })
    .await
}
