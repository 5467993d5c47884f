//! The unit manager of a node, by D-Bus.

use std::collections::BTreeMap;

use fleet_core::RefusalScope;
use fleet_node::{NeedDaemonReload, SystemdState, UnitManager, UnitManagerError, UnitManagerEvent};
use systemd_units::{Error, UnitEvent, Units};
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

fn converted(error: &Error) -> UnitManagerError {
    let load = match error {
        Error::NameConflict { .. } => "masked",
        _ => "error",
    };
    // With causes: the message of `Enable` alone is not specific.
    let text = format!("{:#}", anyhow::Error::new(error.clone()));
    UnitManagerError { text, load, scope: scope(error) }
}

fn is_bad_setting(error: &Error) -> bool {
    matches!(error, Error::Method { name, .. } if name == "org.freedesktop.systemd1.BadUnitSetting")
}

fn scope(error: &Error) -> RefusalScope {
    match error {
        Error::NameConflict { .. } => RefusalScope::Machine,
        Error::UnsupportedName { .. } | Error::NothingToEnable => RefusalScope::Unit,
        Error::Enable { source, .. } => scope(source),
        Error::Method { name, .. } => match name.strip_prefix("org.freedesktop.systemd1.") {
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

fn need_reload(need_reload: systemd_units::NeedDaemonReload) -> NeedDaemonReload {
    match need_reload {
        systemd_units::NeedDaemonReload::Yes => NeedDaemonReload::Yes,
        systemd_units::NeedDaemonReload::No => NeedDaemonReload::No,
    }
}

impl UnitManager for Systemd {
    async fn list_unit_files(&self) -> Result<BTreeMap<UnitName, UnitFile>, UnitManagerError> {
        self.0.list_unit_files().await.map_err(|error| converted(&error))
    }

    async fn load(&self, name: &UnitName, file: &UnitFile) -> Result<NeedDaemonReload, UnitManagerError> {
        self.0.load(name, file).await.map(need_reload).map_err(|error| converted(&error))
    }

    async fn unload(&self, name: &UnitName) -> Result<NeedDaemonReload, UnitManagerError> {
        self.0.unload(name).await.map(need_reload).map_err(|error| converted(&error))
    }

    async fn discover(&self, names: &[UnitName]) -> Result<(), UnitManagerError> {
        self.0.discover(names).await.map_err(|error| converted(&error))
    }

    async fn daemon_reload(&self) -> Result<(), UnitManagerError> {
        self.0.daemon_reload().await.map_err(|error| converted(&error))
    }

    async fn start(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        let Err(error) = self.0.start(name).await else { return Ok(()) };
        let mut converted = converted(&error);
        if is_bad_setting(&error)
            && let Some(findings) = verify::findings(&self.0.file(name), name).await
        {
            converted.text = format!("systemd finds its unit file bad: {findings}");
        }
        Err(converted)
    }

    async fn stop(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        self.0.stop(name).await.map_err(|error| converted(&error))
    }

    async fn kill(&self, name: &UnitName) -> Result<(), UnitManagerError> {
        self.0.kill(name).await.map_err(|error| converted(&error))
    }

    async fn states(&self, names: &[UnitName]) -> Result<BTreeMap<UnitName, SystemdState>, UnitManagerError> {
        let states = self.0.states(names).await.map_err(|error| converted(&error))?;
        Ok(states.into_iter().map(|(name, of)| (name, state(of))).collect())
    }

    fn events(&self) -> mpsc::Receiver<UnitManagerEvent> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut events = self.0.events();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let event = match event {
                    UnitEvent::StateChanged(name, of) => UnitManagerEvent::StateChanged(name, state(of)),
                    UnitEvent::EventsLost => UnitManagerEvent::EventsLost,
                };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}
