//! `--driver=etcd`: reads and writes the registry in etcd without a fleetd.

use etcd_client::{Client, DeleteOptions, GetOptions, Node, SetOptions};
use fleet_api::additions::{Cordon, Explanation, Plan, PlanRequest};
use fleet_api::{Machine, Unit, UnitState};
use fleet_core::registry::{Key, View, Write, writes_for_new_unit};
use fleet_core::responses;
use fleet_core::{JobState, MachineId};
use unit_file::UnitName;

use crate::error::Error;

pub struct EtcdRegistry {
    client: Client,
    /// Starts and ends with a slash.
    prefix: String,
}

fn client_error(error: &etcd_client::Error) -> Error {
    let attempts = error.attempts().iter().enumerate();
    let causes: Vec<String> = attempts.map(|(at, attempt)| format!("; error #{at}: {attempt}")).collect();
    Error::Store(format!("{error}{}", causes.join("\n")))
}

fn invalid(error: impl std::fmt::Display) -> Error {
    Error::Store(error.to_string())
}

fn unit_not_found() -> Error {
    Error::Store("unit does not exist".to_owned())
}

impl EtcdRegistry {
    pub fn new(client: Client, prefix: &str) -> EtcdRegistry {
        EtcdRegistry { client, prefix: format!("/{}/", prefix.trim_matches('/')) }
    }

    /// Reads all keys with quorum.
    async fn view(&self) -> Result<View, Error> {
        let options = GetOptions { recursive: true, sorted: false, quorum: true };
        let root = match self.client.get(self.prefix.trim_end_matches('/'), options).await {
            Ok(answer) => answer.node(),
            Err(error) if error.is_key_not_found() => return Ok(View::default()),
            Err(error) => return Err(client_error(&error)),
        };
        let mut pairs = Vec::new();
        collect_leaves(&root, &mut pairs);
        let relative = pairs
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(self.prefix.as_str())?, value.as_str())));
        // Unreadable values are ignored here; fleetd logs them.
        Ok(View::read(relative).0)
    }

    /// Whether the endpoint answers as etcd does.
    pub async fn is_reachable(&self) -> bool {
        match self.client.get("/", GetOptions::default()).await {
            Ok(_) | Err(etcd_client::Error::Api { .. }) => true,
            Err(_) => false,
        }
    }

    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        Ok(responses::units(&self.view().await?, None))
    }

    pub async fn units_named(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let view = self.view().await?;
        let names: Vec<UnitName> = names.iter().filter_map(|name| UnitName::parse(name).ok()).collect();
        let waits =
            |name: &UnitName| view.unit(name).is_some_and(|unit| unit.target.is_none() && unit.is_desired());
        // Only unscheduled units need an explanation by the scheduler.
        let scheduler = names.iter().any(waits).then(|| responses::scheduler(&view));
        Ok(names.iter().filter_map(|name| responses::unit(&view, scheduler.as_ref(), name)).collect())
    }

    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        Ok(responses::states(&self.view().await?))
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        Ok(responses::machines(&self.view().await?))
    }

    /// The versions that the fleetds publish.
    pub async fn versions(&self) -> Result<Vec<String>, Error> {
        let view = self.view().await?;
        let ids = view.machines().map(|machine| machine.id);
        Ok(ids.filter_map(|id| Some(view.machine_object(&id)?.version.clone())).collect())
    }

    pub async fn put(&self, unit: &Unit) -> Result<(), Error> {
        let name = UnitName::parse(&unit.name).map_err(invalid)?;
        let desired: JobState = unit.desired_state.parse().map_err(invalid)?;
        for write in writes_for_new_unit(&name, &unit.file(), desired) {
            self.write(&write).await?;
        }
        Ok(())
    }

    pub async fn set_desired(&self, name: &str, desired: &str) -> Result<(), Error> {
        let name = UnitName::parse(name).map_err(invalid)?;
        if self.view().await?.unit(&name).is_none() {
            return Err(unit_not_found());
        }
        if name.is_template() && desired != JobState::Inactive.as_str() {
            return Err(invalid(format_args!("cannot activate template {:?}", name.as_str())));
        }
        self.write(&Write::Set { key: Key::TargetState(name), value: desired.to_owned() }).await
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        let options = DeleteOptions { recursive: true, dir: true, ..DeleteOptions::default() };
        match self.client.delete(&format!("{}job/{name}", self.prefix), &options).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_key_not_found() => Err(unit_not_found()),
            Err(error) => Err(client_error(&error)),
        }
    }

    pub async fn set_cordon(&self, machine: &str, cordon: Cordon) -> Result<(), Error> {
        let key = Key::MachineCordon(MachineId::new(machine));
        if let Some(value) = cordon.encode() {
            return self.write(&Write::Set { key, value: value.to_owned() }).await;
        }
        match self.client.delete(&self.path(&key), &DeleteOptions::default()).await {
            Err(error) if !error.is_key_not_found() => Err(client_error(&error)),
            _ => Ok(()),
        }
    }

    pub async fn explain(&self, name: &str) -> Result<Explanation, Error> {
        let (view, name) = (self.view().await?, UnitName::parse(name).map_err(invalid)?);
        responses::explanation(&view, &responses::scheduler(&view), &name).ok_or_else(unit_not_found)
    }

    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        let view = self.view().await?;
        responses::plan(&view, &responses::scheduler(&view), &request.units).map_err(invalid)
    }

    /// Dry run only: the moves need a running engine.
    pub async fn rebalance(&self, dry_run: bool) -> Result<Plan, Error> {
        if !dry_run {
            return Err(Error::NeedsFleetd);
        }
        Ok(responses::rebalance(&responses::scheduler(&self.view().await?)))
    }

    fn path(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.path())
    }

    async fn write(&self, write: &Write) -> Result<(), Error> {
        let written = match write {
            Write::Set { key, value } => {
                self.client.set(&self.path(key), value, &SetOptions::default()).await
            }
            Write::Create { key, value } => match self.client.create(&self.path(key), value, None).await {
                // Contents are stored by hash: another unit has the same.
                Err(error) if error.is_key_exists() => return Ok(()),
                created => created,
            },
            // No request of this driver compares values.
            Write::Swap { .. } | Write::DeleteIf { .. } => return Err(Error::NeedsFleetd),
        };
        written.map(drop).map_err(|error| client_error(&error))
    }
}

fn collect_leaves(node: &Node, into: &mut Vec<(String, String)>) {
    if let Some(value) = node.value.as_ref().filter(|_| !node.dir) {
        into.push((node.key.clone(), value.clone()));
    }
    node.nodes.iter().for_each(|below| collect_leaves(below, into));
}
