//! Access to units and machines by either driver.

use fleet_api::additions::{Cordon, Explanation, Plan, PlanRequest, StatusReport};
use fleet_api::{Machine, Query, Unit, UnitState};
use fleet_client::{Body, Client, StateFilter};

use crate::error::Error;
use crate::etcd_registry::EtcdRegistry;

pub enum Registry {
    Api(Client),
    Etcd(EtcdRegistry),
}

impl Registry {
    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        match self {
            Registry::Api(client) => Ok(client.units().await?),
            Registry::Etcd(etcd) => etcd.units().await,
        }
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        match self {
            Registry::Api(client) => Ok(client.unit(name).await?),
            Registry::Etcd(etcd) => Ok(etcd.units_named(&[name]).await?.pop()),
        }
    }

    /// The units that exist, in the order of `names`.
    pub async fn units_named(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let mut found = match self {
            Registry::Api(client) => client.units_named(names).await?,
            Registry::Etcd(etcd) => etcd.units_named(names).await?,
        };
        found.sort_by_key(|unit| names.iter().position(|name| *name == unit.name));
        Ok(found)
    }

    /// Creates the unit, or replaces its contents.
    pub async fn put(&self, unit: &Unit) -> Result<(), Error> {
        match self {
            Registry::Api(client) => Ok(client.set_unit(unit).await?),
            Registry::Etcd(etcd) => etcd.put(unit).await,
        }
    }

    pub async fn set_desired(&self, name: &str, desired: &str) -> Result<(), Error> {
        match self {
            Registry::Api(client) => Ok(client.set_unit(&Unit::new(name, desired, None)).await?),
            Registry::Etcd(etcd) => etcd.set_desired(name, desired).await,
        }
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        match self {
            Registry::Api(client) => Ok(client.destroy_unit(name).await?),
            Registry::Etcd(etcd) => etcd.destroy(name).await,
        }
    }

    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        self.filtered_states(&StateFilter::default()).await
    }

    pub async fn states_of(&self, unit: &str) -> Result<Vec<UnitState>, Error> {
        self.filtered_states(&StateFilter { unit, machine: "" }).await
    }

    async fn filtered_states(&self, filter: &StateFilter<'_>) -> Result<Vec<UnitState>, Error> {
        match self {
            Registry::Api(client) => Ok(client.states(filter).await?),
            Registry::Etcd(etcd) => {
                let mut states = etcd.states().await?;
                states.retain(|state| filter.unit.is_empty() || state.name == filter.unit);
                Ok(states)
            }
        }
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        match self {
            Registry::Api(client) => Ok(client.machines().await?),
            Registry::Etcd(etcd) => etcd.machines().await,
        }
    }

    pub async fn explain(&self, name: &str) -> Result<Explanation, Error> {
        match self {
            Registry::Api(client) => Ok(client.explain(name).await?),
            Registry::Etcd(etcd) => etcd.explain(name).await,
        }
    }

    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        match self {
            Registry::Api(client) => Ok(client.plan(request).await?),
            Registry::Etcd(etcd) => etcd.plan(request).await,
        }
    }

    pub async fn rebalance(&self, dry_run: bool) -> Result<Plan, Error> {
        match self {
            Registry::Api(client) => Ok(client.rebalance(dry_run).await?),
            Registry::Etcd(etcd) => etcd.rebalance(dry_run).await,
        }
    }

    pub async fn set_cordon(&self, machine: &str, cordon: Cordon) -> Result<(), Error> {
        match self {
            Registry::Api(client) => Ok(client.set_cordon(machine, cordon).await?),
            Registry::Etcd(etcd) => etcd.set_cordon(machine, cordon).await,
        }
    }

    pub async fn status(&self, unit: &str, machine: &str) -> Result<StatusReport, Error> {
        match self {
            Registry::Api(client) => Ok(client.status(unit, machine).await?),
            Registry::Etcd(_) => Err(Error::NeedsFleetd),
        }
    }

    pub async fn journal(&self, unit: &str, query: &Query) -> Result<Body, Error> {
        match self {
            Registry::Api(client) => Ok(client.journal(unit, query).await?),
            Registry::Etcd(_) => Err(Error::NeedsFleetd),
        }
    }
}
