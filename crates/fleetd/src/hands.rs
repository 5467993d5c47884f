//! systemd, as a node wants it.

use std::collections::BTreeMap;

use fleet_node::{Hands, HandsChange, HandsError, Reread, SystemdState};
use systemd_units::{Change, Error, Units};
use tokio::sync::mpsc;
use unit_file::{UnitFile, UnitName};

/// Changes that wait to be read.
const WAITING: usize = 1024;

#[derive(Clone)]
pub struct Systemd(pub Units);

fn told(error: &Error) -> HandsError {
    let load = match error {
        Error::Clash { .. } => "masked",
        _ => "error",
    };
    HandsError { text: error.to_string(), load }
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
        self.0.start(name).await.map(drop).map_err(|error| told(&error))
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
