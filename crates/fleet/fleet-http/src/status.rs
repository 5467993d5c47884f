//! `GET /units/NAME/status`: what systemctl says of a unit on this machine, and who may be asked at all.

use std::io;

use fleet_api::ErrorDocument;
use fleet_api::additions::{MachineStatus, StatusReport};
use fleet_core::MachineId;
use fleet_core::registry::View;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::answer::{Answered, broken, json, no_unit, refuse, unknown_path};
use crate::backend::Backend;
use crate::front::Front;
use crate::limits::{STATUS_BYTES, STATUS_TIME};
use crate::program::Running;
use crate::request::Target;

/// Where systemctl itself was killed: as over SSH.
const NO_CODE: u8 = 255;

pub async fn get<B: Backend>(front: &Front<B>, name: &str, target: &Target) -> Answered {
    let name = on_this_machine(front, name, target)?;
    let words = ["status", "-l", "--", name.as_str()];
    let running = Running::start(&front.programs.systemctl, &words, &front.places)?;
    let failed = |error: io::Error| broken("reading a unit's status", &error);
    let said = timeout(STATUS_TIME, all_of(running)).await;
    let (exit_code, output) = said.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
    let machine_id = front.backend.me().to_string();
    json(&StatusReport { statuses: vec![MachineStatus { exit_code, machine_id, output }] })
}

async fn all_of(mut running: Running) -> io::Result<(u8, String)> {
    let mut output = Vec::new();
    (&mut running.output).take(STATUS_BYTES).read_to_end(&mut output).await?;
    let code = running.end(false).await?.code();
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NO_CODE);
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}

/// The unit, where this machine has it. For another machine the path does not exist: its client goes there itself.
pub fn on_this_machine<B: Backend>(
    front: &Front<B>,
    name: &str,
    target: &Target,
) -> Result<UnitName, ErrorDocument> {
    let name = UnitName::parse(name).map_err(|_| no_unit())?;
    let me = front.backend.me();
    let asked = target.value("machineID");
    front.look(|view, _| {
        let unit = view.unit(&name).ok_or_else(no_unit)?;
        if asked.is_some_and(|asked| asked != me.as_str()) {
            return Err(unknown_path());
        }
        let places: Vec<&MachineId> = match unit.requirements.global {
            true => states_of(view, &name).collect(),
            false => unit.target.iter().filter(|target| view.state(&name, target).is_some()).collect(),
        };
        match (places.contains(&me), asked) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(refuse(409, "unit is not loaded on this machine")),
            (false, None) if places.is_empty() => Err(refuse(409, "unit is not loaded on any machine")),
            (false, None) => Err(unknown_path()),
        }
    })??;
    Ok(name)
}

fn states_of<'a>(view: &'a View, name: &'a UnitName) -> impl Iterator<Item = &'a MachineId> {
    view.states().filter(move |(unit, _)| *unit == name).map(|(_, state)| &state.machine)
}
