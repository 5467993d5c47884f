//! The cluster manager: units move away before a reboot, and may come back after it.
//!
//! What the machine was before is written down, so that the next boot knows what to put back. What an operator said
//! of the machine is never changed to less.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fleet_api::Unit;
use fleet_api::additions::Cordon;
use fleet_client::{Client, Direct, Endpoint, Error};
use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep};

use crate::limits::{DRAIN_LOOK, HTTP_REQUEST};

pub const UNITS: [&str; 1] = ["fleet.service"];

#[derive(Debug, ThisError)]
pub enum FleetError {
    #[error("{0}")]
    Api(#[from] Error),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

/// What became of a machine's units.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Those that can go nowhere else, with the reason.
    pub stay: Vec<String>,
    /// Those that did not go in time.
    pub late: Vec<String>,
}

pub fn client(endpoint: &str) -> Result<Client, fleet_client::EndpointError> {
    let endpoint: Endpoint = endpoint.parse()?;
    // On this machine: no certificates.
    Ok(Client::new(endpoint, Arc::new(Direct), None, HTTP_REQUEST, None))
}

/// The machines that the cluster manager sees.
pub async fn present(client: &Client) -> Result<BTreeSet<String>, Error> {
    Ok(client.machines().await?.into_iter().map(|machine| machine.id).collect())
}

/// Which units are on the machine that are to go: those that go, and those that stay.
fn on_machine<'a>(units: &'a [Unit], machine: &str) -> (Vec<&'a Unit>, Vec<&'a Unit>) {
    units
        .iter()
        .filter(|unit| unit.machine_id == machine)
        .partition(|unit| unit.scheduling_message.is_empty())
}

/// What this machine was before it was drained, in a file.
pub struct Memory(PathBuf);

impl Memory {
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("drained"))
    }

    fn failed(&self, source: io::Error) -> FleetError {
        FleetError::File { path: self.0.display().to_string(), source }
    }

    /// `None` where it was not us who drained it.
    pub fn before(&self) -> Result<Option<Cordon>, FleetError> {
        match std::fs::read_to_string(&self.0) {
            // A word that is none was ours all the same: then the machine is open.
            Ok(word) => Ok(Some(Cordon::decode(word.trim()).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn keep(&self, before: Cordon) -> Result<(), FleetError> {
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).map_err(|error| self.failed(error))?;
        }
        service::file::replace(&self.0, format!("{before}\n").as_bytes(), 0o644)
            .map_err(|error| self.failed(error))
    }

    fn forget(&self) -> Result<(), FleetError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }
}

/// Moves the machine's units away, and waits until they are gone, for so long.
pub async fn drain(
    client: &Client,
    memory: &Memory,
    machine: &str,
    limit: Duration,
) -> Result<Moved, FleetError> {
    let end = Instant::now() + limit;
    let machines = client.machines().await?;
    let Some(me) = machines.iter().find(|one| one.id == machine) else { return Ok(Moved::default()) };
    // An operator who drains it does not want it back when we do, and what was kept before is older than this.
    if me.cordon != Cordon::Draining {
        memory.keep(me.cordon)?;
        client.set_cordon(machine, Cordon::Draining).await?;
    }
    loop {
        let asked = client.units().await;
        let over = Instant::now() >= end;
        match asked {
            Ok(units) => {
                let (go, stay) = on_machine(&units, machine);
                if go.is_empty() || over {
                    let told = |unit: &&Unit| format!("{} ({})", unit.name, unit.scheduling_message);
                    let late = go.iter().map(|unit| unit.name.clone()).collect();
                    return Ok(Moved { stay: stay.iter().map(told).collect(), late });
                }
            }
            // One answer less is no reason to give up.
            Err(error) if over => return Err(error.into()),
            Err(error) => tracing::debug!("asking for units: {error}"),
        }
        sleep(DRAIN_LOOK).await;
    }
}

/// Lets units back onto the machine, where it was us who sent them away; whether it was.
pub async fn undrain(client: &Client, memory: &Memory, machine: &str) -> Result<bool, FleetError> {
    let Some(before) = memory.before()? else { return Ok(false) };
    match client.set_cordon(machine, before).await {
        Ok(()) => {}
        // A server that cannot drain has nothing to take back.
        Err(error) if error.is_unknown_path() => {}
        Err(error) => return Err(error.into()),
    }
    memory.forget()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_units_go() {
        let unit = |name: &str, machine: &str, message: &str| Unit {
            name: name.into(),
            machine_id: machine.into(),
            scheduling_message: message.into(),
            ..Unit::default()
        };
        let all = [
            unit("a", "m", ""),
            unit("b", "n", ""),
            unit("c", "m", "conflicts"),
            unit("d", "", "no machine"),
        ];
        let (go, stay) = on_machine(&all, "m");
        assert_eq!(go.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(stay.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn what_a_machine_was_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::in_folder(&folder.path().join("locksmith"));
        assert_eq!(memory.before().unwrap(), None);
        memory.forget().unwrap();
        for cordon in [Cordon::Open, Cordon::Cordoned] {
            memory.keep(cordon).unwrap();
            assert_eq!(memory.before().unwrap(), Some(cordon));
        }
        memory.forget().unwrap();
        assert_eq!(memory.before().unwrap(), None);
    }
}
