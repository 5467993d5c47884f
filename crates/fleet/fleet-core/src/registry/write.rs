//! Tasks and requests as compare-and-swap writes.

use unit_file::{UnitFile, UnitName};

use crate::job_state::JobState;
use crate::registry::key::Key;
use crate::registry::value::{JobObject, UnitObject};
use crate::schedule::Task;

/// One write. If its comparison fails, nothing is written, and the watch delivers the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    Set {
        key: Key,
        value: String,
    },
    /// If the key does not exist.
    Create {
        key: Key,
        value: String,
    },
    /// If the value is `from`.
    Swap {
        key: Key,
        from: String,
        to: String,
    },
    /// If the value is `value`.
    DeleteIf {
        key: Key,
        value: String,
    },
}

/// The writes of an engine task, in order.
pub fn writes_for_task(task: &Task) -> Vec<Write> {
    match task {
        Task::Unschedule { unit, machine, .. } => {
            vec![Write::DeleteIf { key: Key::Target(unit.clone()), value: machine.to_string() }]
        }
        Task::Schedule { unit, machine, pin, .. } => {
            let pin = pin.then(|| Write::Create { key: Key::Pin(unit.clone()), value: machine.to_string() });
            let target = Write::Create { key: Key::Target(unit.clone()), value: machine.to_string() };
            pin.into_iter().chain([target]).collect()
        }
        Task::Move { unit, from, to, .. } => {
            vec![Write::Swap { key: Key::Target(unit.clone()), from: from.to_string(), to: to.to_string() }]
        }
    }
}

/// The writes of a new or changed unit, in order. The unit file is first and may exist already.
pub fn writes_for_new_unit(name: &UnitName, file: &UnitFile, desired: JobState) -> [Write; 3] {
    let text = UnitObject { raw: file.normalised() };
    let object = JobObject { name: name.to_string(), hash: file.hash() };
    [
        Write::Create { key: Key::Unit(file.hash()), value: text.encode() },
        Write::Set { key: Key::JobObject(name.clone()), value: object.encode() },
        Write::Set { key: Key::TargetState(name.clone()), value: desired.to_string() },
    ]
}
