//! The cluster manager: drains this machine before a reboot and restores it afterwards.
//!
//! The machine's previous cordon state is stored on disk, so that the next boot restores it. A stricter state
//! set by an operator is never relaxed.

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

use crate::limits::{DRAIN_POLL, HTTP_REQUEST};

pub const UNITS: [&str; 1] = ["fleet.service"];

#[derive(Debug, ThisError)]
pub enum FleetError {
    #[error("{0}")]
    Api(#[from] Error),
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

/// The result of a drain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Units that can run on no other machine, with the reason.
    pub unmovable: Vec<String>,
    /// Units that did not move in time.
    pub remaining: Vec<String>,
}

pub fn client(endpoint: &str) -> Result<Client, fleet_client::EndpointError> {
    let endpoint: Endpoint = endpoint.parse()?;
    // The API is local: no certificates.
    Ok(Client::new(endpoint, Arc::new(Direct), None, HTTP_REQUEST, None))
}

/// The machines that the cluster manager reports.
pub async fn live_machines(client: &Client) -> Result<BTreeSet<String>, Error> {
    Ok(client.machines().await?.into_iter().map(|machine| machine.id).collect())
}

/// The units of `machine`: those that can move, and those that cannot.
fn partition_units<'a>(units: &'a [Unit], machine: &str) -> (Vec<&'a Unit>, Vec<&'a Unit>) {
    units
        .iter()
        .filter(|unit| unit.machine_id == machine)
        .partition(|unit| unit.scheduling_message.is_empty())
}

/// Stores the machine's cordon state before the drain.
pub struct CordonFile(PathBuf);

impl CordonFile {
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("drained"))
    }

    fn failed(&self, source: io::Error) -> FleetError {
        FleetError::File { path: self.0.display().to_string(), source }
    }

    /// `None` if this daemon did not drain the machine.
    pub fn read(&self) -> Result<Option<Cordon>, FleetError> {
        match std::fs::read_to_string(&self.0) {
            // An unknown state counts as open: the file exists only for our own drain.
            Ok(text) => Ok(Some(Cordon::decode(text.trim()).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn write(&self, before: Cordon) -> Result<(), FleetError> {
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder).map_err(|error| self.failed(error))?;
        }
        service::file::replace(&self.0, format!("{before}\n").as_bytes(), 0o644)
            .map_err(|error| self.failed(error))
    }

    fn remove(&self) -> Result<(), FleetError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }
}

/// Drains the machine and waits at most `limit` until its units have moved.
pub async fn drain(
    client: &Client,
    cordon_file: &CordonFile,
    machine: &str,
    limit: Duration,
) -> Result<DrainReport, FleetError> {
    let deadline = Instant::now() + limit;
    let machines = client.machines().await?;
    let Some(this_machine) = machines.iter().find(|machine_info| machine_info.id == machine) else {
        return Ok(DrainReport::default());
    };
    // An operator's drain must not be undone, and a state stored earlier is still the right one.
    if this_machine.cordon != Cordon::Draining {
        cordon_file.write(this_machine.cordon)?;
        client.set_cordon(machine, Cordon::Draining).await?;
    }
    loop {
        let units = client.units().await;
        let expired = Instant::now() >= deadline;
        match units {
            Ok(units) => {
                let (movable, unmovable) = partition_units(&units, machine);
                if movable.is_empty() || expired {
                    let describe = |unit: &&Unit| format!("{} ({})", unit.name, unit.scheduling_message);
                    let remaining = movable.iter().map(|unit| unit.name.clone()).collect();
                    return Ok(DrainReport {
                        unmovable: unmovable.iter().map(describe).collect(),
                        remaining,
                    });
                }
            }
            // A single failed request is retried.
            Err(error) if expired => return Err(error.into()),
            Err(error) => tracing::debug!("asking for units: {error}"),
        }
        sleep(DRAIN_POLL).await;
    }
}

/// Restores the state before our own drain. Returns whether there was one.
pub async fn undrain(client: &Client, cordon_file: &CordonFile, machine: &str) -> Result<bool, FleetError> {
    let Some(before) = cordon_file.read()? else { return Ok(false) };
    match client.set_cordon(machine, before).await {
        Ok(()) => {}
        // A server without cordons has nothing to restore.
        Err(error) if error.is_unknown_path() => {}
        Err(error) => return Err(error.into()),
    }
    cordon_file.remove()?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movable_units() {
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
        let (movable, unmovable) = partition_units(&all, "m");
        assert_eq!(movable.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(unmovable.iter().map(|unit| unit.name.as_str()).collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn cordon_file_roundtrip() {
        let folder = tempfile::tempdir().unwrap();
        let cordon_file = CordonFile::in_folder(&folder.path().join("locksmith"));
        assert_eq!(cordon_file.read().unwrap(), None);
        cordon_file.remove().unwrap();
        for cordon in [Cordon::Open, Cordon::Cordoned] {
            cordon_file.write(cordon).unwrap();
            assert_eq!(cordon_file.read().unwrap(), Some(cordon));
        }
        cordon_file.remove().unwrap();
        assert_eq!(cordon_file.read().unwrap(), None);
    }
}
