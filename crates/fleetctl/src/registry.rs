//! What is known of units and machines, and how it is changed: by whichever driver was chosen.

use fleet_api::additions::{Cordon, Explanation, Plan, PlanRequest, StatusReport};
use fleet_api::{Machine, Query, Unit, UnitState};
use fleet_client::{Body, Client, Error, StateFilter};

pub enum Registry {
    Api(Client),
}

impl Registry {
    fn client(&self) -> &Client {
        match self {
            Registry::Api(client) => client,
        }
    }

    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        self.client().units().await
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        self.client().unit(name).await
    }

    /// Those that exist, in the order of `names`.
    pub async fn units_named(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let mut found = self.client().units_named(names).await?;
        found.sort_by_key(|unit| names.iter().position(|name| *name == unit.name));
        Ok(found)
    }

    /// Creates the unit, or replaces its text.
    pub async fn put(&self, unit: &Unit) -> Result<(), Error> {
        self.client().set_unit(unit).await
    }

    pub async fn set_desired(&self, name: &str, desired: &str) -> Result<(), Error> {
        self.client().set_unit(&Unit::new(name, desired, None)).await
    }

    pub async fn destroy(&self, name: &str) -> Result<(), Error> {
        self.client().destroy_unit(name).await
    }

    pub async fn states(&self) -> Result<Vec<UnitState>, Error> {
        self.client().states(&StateFilter::default()).await
    }

    pub async fn states_of(&self, unit: &str) -> Result<Vec<UnitState>, Error> {
        self.client().states(&StateFilter { unit, machine: "" }).await
    }

    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        self.client().machines().await
    }

    pub async fn explain(&self, name: &str) -> Result<Explanation, Error> {
        self.client().explain(name).await
    }

    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        self.client().plan(request).await
    }

    pub async fn rebalance(&self, dry_run: bool) -> Result<Plan, Error> {
        self.client().rebalance(dry_run).await
    }

    pub async fn set_cordon(&self, machine: &str, cordon: Cordon) -> Result<(), Error> {
        self.client().set_cordon(machine, cordon).await
    }

    pub async fn status(&self, unit: &str, machine: &str) -> Result<StatusReport, Error> {
        self.client().status(unit, machine).await
    }

    pub async fn journal(&self, unit: &str, query: &Query) -> Result<Body, Error> {
        self.client().journal(unit, query).await
    }
}
