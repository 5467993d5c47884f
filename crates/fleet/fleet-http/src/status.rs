//! `GET /units/NAME/status`: `systemctl status` of a unit on this machine.

use std::io;

use fleet_api::ErrorDocument;
use fleet_api::additions::{MachineStatus, StatusReport};
use fleet_core::MachineId;
use fleet_core::registry::View;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use unit_file::UnitName;

use crate::backend::Backend;
use crate::context::ApiContext;
use crate::limits::{STATUS_BYTES, STATUS_TIMEOUT};
use crate::program::RunningProgram;
use crate::request::Target;
use crate::response::{ApiResult, api_error, internal_error, json, path_not_found, unit_not_found};

/// Exit code if a signal ended systemctl, as in `ssh`.
const EXIT_SIGNALLED: u8 = 255;

pub async fn get<B: Backend>(context: &ApiContext<B>, name: &str, target: &Target) -> ApiResult {
    let name = local_unit(context, name, target)?;
    let args = ["status", "-l", "--", name.as_str()];
    let running = RunningProgram::start(&context.programs.systemctl, &args, &context.permits)?;
    let status_error = |error: io::Error| internal_error("reading a unit's status", &error);
    let result = timeout(STATUS_TIMEOUT, read_output(running)).await;
    let (exit_code, output) =
        result.map_err(|_| status_error(io::ErrorKind::TimedOut.into()))?.map_err(status_error)?;
    let machine_id = context.backend.me().to_string();
    json(&StatusReport { statuses: vec![MachineStatus { exit_code, machine_id, output }] })
}

async fn read_output(mut running: RunningProgram) -> io::Result<(u8, String)> {
    let mut output = Vec::new();
    (&mut running.output).take(STATUS_BYTES).read_to_end(&mut output).await?;
    let code = running.finish(false).await?.code();
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_SIGNALLED);
    Ok((code, String::from_utf8_lossy(&output).into_owned()))
}

/// Parses the name of a unit that this machine has loaded. Other machines have no path: clients connect to them over
/// SSH.
pub fn local_unit<B: Backend>(
    context: &ApiContext<B>,
    name: &str,
    target: &Target,
) -> Result<UnitName, ErrorDocument> {
    let name = UnitName::parse(name).map_err(|_| unit_not_found())?;
    let me = context.backend.me();
    let requested_machine = target.value("machineID");
    context.with_view(|view, _| {
        let unit = view.unit(&name).ok_or_else(unit_not_found)?;
        if requested_machine.is_some_and(|requested_machine| requested_machine != me.as_str()) {
            return Err(path_not_found());
        }
        let machines: Vec<&MachineId> = match unit.requirements.global {
            true => states_of(view, &name).collect(),
            false => unit.target.iter().filter(|target| view.state(&name, target).is_some()).collect(),
        };
        match (machines.contains(&me), requested_machine) {
            (true, _) => Ok(()),
            (false, Some(_)) => Err(api_error(409, "unit is not loaded on this machine")),
            (false, None) if machines.is_empty() => Err(api_error(409, "unit is not loaded on any machine")),
            (false, None) => Err(path_not_found()),
        }
    })??;
    Ok(name)
}

fn states_of<'a>(view: &'a View, name: &'a UnitName) -> impl Iterator<Item = &'a MachineId> {
    view.states().filter(move |(unit, _)| *unit == name).map(|(_, state)| &state.machine)
}
