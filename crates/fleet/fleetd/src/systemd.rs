//! The unit manager of a node, by D-Bus.

use std::collections::BTreeMap;

use fleet_core::RefusalScope;
use fleet_node::{Hands, HandsChange, HandsError, Reread, SystemdState};
use systemd_units::{Change, Error, Units};
use tokio::sync::mpsc;
use unit_file::{UnitFile, UnitName};

use crate::verify;

/// Capacity of the event channel.
const WAITING: usize = 1024;

#[derive(Clone)]
pub struct Systemd(pub Units);

/// Suffixes of systemd's error names for faults of the unit file.
const OF_UNIT: [&str; 3] = ["BadUnitSetting", "OnlyByDependency", "JobTypeNotApplicable"];
/// Faults of this machine, such as a missing or masked unit.
const OF_MACHINE: [&str; 4] = ["NoSuchUnit", "LoadFailed", "UnitMasked", "UnitGenerated"];

fn told(error: &Error) -> HandsError {
    let load = match error {
        Error::Clash { .. } => "masked",
        _ => "error",
    };
    // With causes: the message of `Enable` alone is not specific.
    let text = format!("{:#}", anyhow::Error::new(error.clone()));
    HandsError { text, load, scope: scope(error) }
}

fn is_bad_setting(error: &Error) -> bool {
    matches!(error, Error::Refused { name, .. } if name == "org.freedesktop.systemd1.BadUnitSetting")
}

fn scope(error: &Error) -> RefusalScope {
    match error {
        Error::Clash { .. } => RefusalScope::Machine,
        Error::Name { .. } | Error::NothingToEnable => RefusalScope::Unit,
        Error::Enable { source, .. } => scope(source),
        Error::Refused { name, .. } => match name.strip_prefix("org.freedesktop.systemd1.") {
            Some(name) if OF_UNIT.contains(&name) => RefusalScope::Unit,
            Some(name) if OF_MACHINE.contains(&name) => RefusalScope::Machine,
            _ => RefusalScope::Temporary,
        },
        _ => RefusalScope::Temporary,
    }
}

fn state(state: systemd_units::SystemdState) -> SystemdState {
    SystemdState { load: state.load, active: state.active, sub: state.sub }
}

fn reread(reread: systemd_units::Reread) -> Reread {
    match reread {
        systemd_units::Reread::Needed => Reread::Needed,
        systemd_units::Reread::NotNeeded => Reread::NotNeeded,
    }
}

impl Hands for Systemd {
    async fn found(&self) -> Result<BTreeMap<UnitName, UnitFile>, HandsError> {
        self.0.found().await.map_err(|error| told(&error))
    }

    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<Reread, HandsError> {
        self.0.load(name, file).await.map(reread).map_err(|error| told(&error))
    }

    async fn unload(&self, name: &UnitName) -> Result<Reread, HandsError> {
        self.0.unload(name).await.map(reread).map_err(|error| told(&error))
    }

    async fn find(&self, names: &[UnitName]) -> Result<(), HandsError> {
        self.0.find(names).await.map_err(|error| told(&error))
    }

    async fn reload(&self) -> Result<(), HandsError> {
        self.0.reload().await.map_err(|error| told(&error))
    }

    async fn start(&self, name: &UnitName) -> Result<(), HandsError> {
        let Err(error) = self.0.start(name).await else { return Ok(()) };
        let mut told = told(&error);
        if is_bad_setting(&error)
            && let Some(findings) = verify::findings(&self.0.file(name), name).await
        {
            told.text = format!("systemd finds its unit file bad: {findings}");
        }
        Err(told)
    }

    async fn stop(&self, name: &UnitName) -> Result<(), HandsError> {
        self.0.stop(name).await.map_err(|error| told(&error))
    }

    async fn kill(&self, name: &UnitName) -> Result<(), HandsError> {
        self.0.kill(name).await.map_err(|error| told(&error))
    }

    async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, HandsError> {
        let states = self.0.states(names).await.map_err(|error| told(&error))?;
        Ok(states.into_iter().map(|(name, of)| (name, state(of))).collect())
    }

    fn changes(&self) -> mpsc::Receiver<HandsChange> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut changes = self.0.changes();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                let change = match change {
                    Change::State(name, of) => HandsChange::State(name, state(of)),
                    Change::Everything => HandsChange::Everything,
                };
                if sender.send(change).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}
