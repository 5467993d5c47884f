//! The API's machines.

use crate::registry::View;
use fleet_api::Machine;

/// Present machines by id.
pub fn machines(view: &View) -> Vec<Machine> {
    let shown = |machine: crate::Machine| {
        let object = view.machine_object(&machine.id);
        Machine {
            cordon: machine.cordon,
            id: machine.id.to_string(),
            primary_ip: object.map(|object| object.public_ip.clone()).unwrap_or_default(),
            metadata: machine.metadata,
        }
    };
    view.machines().map(shown).collect()
}
