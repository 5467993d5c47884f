//! Calls of the API and its extensions; lists are read page by page.

use fleet_api::additions::{
    self, Cordon, CordonRequest, Explanation, Plan, PlanRequest, RebalanceRequest, StatusReport,
};
use fleet_api::{
    Machine, MachinePage, PREFIX, Query, Unit, UnitPage, UnitState, UnitStatePage, encode, path,
};
use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Body, Call, Client};
use crate::error::Error;
use crate::limits::{MAX_NAMES_BYTES, MAX_PAGES};

/// Selects unit states; empty strings match all.
#[derive(Debug, Clone, Default)]
pub struct StateFilter<'a> {
    /// Full name of a unit.
    pub unit: &'a str,
    /// Id of a machine.
    pub machine: &'a str,
}

const NOT_FOUND: Option<u16> = Some(404);

impl Client {
    /// All units, sorted by name.
    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        self.pages("units", &path(PREFIX, &["units"]), &Query::default(), |page: UnitPage| {
            (page.units, page.next_page_token)
        })
        .await
    }

    /// `None` if the unit does not exist.
    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        let units = self.get(&path(PREFIX, &["units", name]), &Query::default()).await;
        match units {
            Ok(unit) => Ok(Some(unit)),
            Err(error) if error.code() == NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The named units that exist. Uses batch requests if the server supports the extensions.
    pub async fn units_named(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let mut units = Vec::new();
        if names.len() > 1 {
            match self.units_batch(names).await {
                Err(error) if error.is_unknown_path() => {}
                done => return done,
            }
        }
        for name in names {
            units.extend(self.unit(name).await?);
        }
        Ok(units)
    }

    async fn units_batch(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let target = path(additions::PREFIX, &["units"]);
        let mut units = Vec::new();
        let mut rest = names;
        while !rest.is_empty() {
            let mut query = Query::default();
            while let Some((name, after)) = rest.split_first() {
                query = query.with("name", name);
                rest = after;
                if query.as_str().len() > MAX_NAMES_BYTES {
                    break;
                }
            }
            let page: UnitPage = self.get(&target, &query).await?;
            units.extend(page.units);
        }
        Ok(units)
    }

    /// Creates the unit, replaces its contents, or sets its desired state, depending on the set fields.
    pub async fn set_unit(&self, unit: &Unit) -> Result<(), Error> {
        self.write(Method::PUT, &path(PREFIX, &["units", &unit.name]), unit).await.map(drop)
    }

    /// Fails with 404 if the unit does not exist.
    pub async fn destroy_unit(&self, name: &str) -> Result<(), Error> {
        let target = format!("{}?{}", path(PREFIX, &["units", name]), Query::default().as_str());
        self.fetch(&Call { method: Method::DELETE, target, body: None }).await.map(drop)
    }

    /// Sorted by unit, then by machine.
    pub async fn states(&self, filter: &StateFilter<'_>) -> Result<Vec<UnitState>, Error> {
        let query =
            Query::default().with_some("machineID", filter.machine).with_some("unitName", filter.unit);
        self.pages("states", &path(PREFIX, &["state"]), &query, |page: UnitStatePage| {
            (page.states, page.next_page_token)
        })
        .await
    }

    /// Sorted by id.
    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        self.pages("machines", &path(PREFIX, &["machines"]), &Query::default(), |page: MachinePage| {
            (page.machines, page.next_page_token)
        })
        .await
    }

    /// Extension: why the unit runs where it does, or why nowhere.
    pub async fn explain(&self, name: &str) -> Result<Explanation, Error> {
        self.get(&path(additions::PREFIX, &["units", name, "explanation"]), &Query::default()).await
    }

    /// Extension: what would happen to these units. Changes nothing.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        self.exchange(Method::POST, &path(additions::PREFIX, &["plan"]), request).await
    }

    /// Extension: evens out the load. Returns the steps, which a dry run does not take.
    pub async fn rebalance(&self, dry_run: bool) -> Result<Plan, Error> {
        let request = RebalanceRequest { dry_run };
        self.exchange(Method::POST, &path(additions::PREFIX, &["rebalance"]), &request).await
    }

    /// Extension: `machine` is a full id.
    pub async fn set_cordon(&self, machine: &str, cordon: Cordon) -> Result<(), Error> {
        let target = path(additions::PREFIX, &["machines", machine, "cordon"]);
        self.write(Method::PUT, &target, &CordonRequest { cordon }).await.map(drop)
    }

    /// Extension: `systemctl status` of each machine that has the unit; of one only if `machine` is not empty.
    pub async fn status(&self, name: &str, machine: &str) -> Result<StatusReport, Error> {
        let query = Query::default().with_some("machineID", machine);
        self.get(&path(additions::PREFIX, &["units", name, "status"]), &query).await
    }

    /// `query` may contain `lines`, `follow`, `output` and `machineID`.
    pub async fn journal(&self, name: &str, query: &Query) -> Result<Body, Error> {
        let path = path(additions::PREFIX, &["units", name, "journal"]);
        let target = format!("{path}?{}", query.as_str());
        self.open(&Call { method: Method::GET, target, body: None }).await
    }

    async fn pages<P: DeserializeOwned, T>(
        &self,
        list: &'static str,
        path: &str,
        query: &Query,
        into_parts: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let page = self.get(path, &query.clone().with_some("nextPageToken", &token)).await?;
            let (items, next) = into_parts(page);
            all.extend(items);
            if next.is_empty() {
                return Ok(all);
            }
            token = next;
        }
        Err(Error::TooManyPages(list))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, Error> {
        let target = format!("{path}?{}", query.as_str());
        let body = self.fetch(&Call { method: Method::GET, target: target.clone(), body: None }).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::InvalidJson(self.endpoint().address(&target), error.to_string()))
    }

    async fn write<B: Serialize>(&self, method: Method, path: &str, body: &B) -> Result<bytes::Bytes, Error> {
        let target = format!("{path}?{}", Query::default().as_str());
        let address = || self.endpoint().address(&target);
        let body = encode(body).map_err(|error| Error::InvalidJson(address(), error.to_string()))?;
        self.fetch(&Call { method, target: target.clone(), body: Some(body) }).await
    }

    async fn exchange<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Error> {
        let response = self.write(method, path, body).await?;
        serde_json::from_slice(&response)
            .map_err(|error| Error::InvalidJson(self.endpoint().address(path), error.to_string()))
    }
}
