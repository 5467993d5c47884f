//! The API's calls: lists of all pages, units by name, and the additions.

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
use crate::limits::{NAMES_BYTES, PAGES};

/// Which states; empty means all.
#[derive(Debug, Clone, Default)]
pub struct StateFilter<'a> {
    pub unit: &'a str,
    pub machine: &'a str,
}

const NOT_FOUND: Option<u16> = Some(404);

impl Client {
    /// All units, by name.
    pub async fn units(&self) -> Result<Vec<Unit>, Error> {
        self.pages("units", &path(PREFIX, &["units"]), &Query::default(), |page: UnitPage| {
            (page.units, page.next_page_token)
        })
        .await
    }

    pub async fn unit(&self, name: &str) -> Result<Option<Unit>, Error> {
        let found = self.get(&path(PREFIX, &["units", name]), &Query::default()).await;
        match found {
            Ok(unit) => Ok(Some(unit)),
            Err(error) if error.code() == NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of the units that exist; by one request for many, where the server has the additions.
    pub async fn units_named(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let mut found = Vec::new();
        if names.len() > 1 {
            match self.batch_of_units(names).await {
                Err(error) if error.is_unknown_path() => {}
                done => return done,
            }
        }
        for name in names {
            found.extend(self.unit(name).await?);
        }
        Ok(found)
    }

    async fn batch_of_units(&self, names: &[&str]) -> Result<Vec<Unit>, Error> {
        let target = path(additions::PREFIX, &["units"]);
        let mut found = Vec::new();
        let mut rest = names;
        while !rest.is_empty() {
            let mut query = Query::default();
            while let Some((name, after)) = rest.split_first() {
                query = query.with("name", name);
                rest = after;
                if query.as_str().len() > NAMES_BYTES {
                    break;
                }
            }
            let page: UnitPage = self.get(&target, &query).await?;
            found.extend(page.units);
        }
        Ok(found)
    }

    /// Creates the unit or changes it, as the API decides by what the request holds.
    pub async fn set_unit(&self, unit: &Unit) -> Result<(), Error> {
        self.write(Method::PUT, &path(PREFIX, &["units", &unit.name]), unit).await.map(drop)
    }

    pub async fn destroy_unit(&self, name: &str) -> Result<(), Error> {
        let target = format!("{}?{}", path(PREFIX, &["units", name]), Query::default().as_str());
        self.ask(&Call { method: Method::DELETE, target, body: None }).await.map(drop)
    }

    /// By unit, then machine.
    pub async fn states(&self, only: &StateFilter<'_>) -> Result<Vec<UnitState>, Error> {
        let query = Query::default().with_some("machineID", only.machine).with_some("unitName", only.unit);
        self.pages("states", &path(PREFIX, &["state"]), &query, |page: UnitStatePage| {
            (page.states, page.next_page_token)
        })
        .await
    }

    /// By id.
    pub async fn machines(&self) -> Result<Vec<Machine>, Error> {
        self.pages("machines", &path(PREFIX, &["machines"]), &Query::default(), |page: MachinePage| {
            (page.machines, page.next_page_token)
        })
        .await
    }

    pub async fn explain(&self, name: &str) -> Result<Explanation, Error> {
        self.get(&path(additions::PREFIX, &["units", name, "explanation"]), &Query::default()).await
    }

    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, Error> {
        self.exchange(Method::POST, &path(additions::PREFIX, &["plan"]), request).await
    }

    pub async fn rebalance(&self, dry_run: bool) -> Result<Plan, Error> {
        let request = RebalanceRequest { dry_run };
        self.exchange(Method::POST, &path(additions::PREFIX, &["rebalance"]), &request).await
    }

    pub async fn set_cordon(&self, machine: &str, cordon: Cordon) -> Result<(), Error> {
        let target = path(additions::PREFIX, &["machines", machine, "cordon"]);
        self.write(Method::PUT, &target, &CordonRequest { cordon }).await.map(drop)
    }

    pub async fn status(&self, name: &str, machine: &str) -> Result<StatusReport, Error> {
        let query = Query::default().with_some("machineID", machine);
        self.get(&path(additions::PREFIX, &["units", name, "status"]), &query).await
    }

    /// `query` as the API's additions have it: `lines`, `follow`, `output`, `machineID`.
    pub async fn journal(&self, name: &str, query: &Query) -> Result<Body, Error> {
        let path = path(additions::PREFIX, &["units", name, "journal"]);
        let target = format!("{path}?{}", query.as_str());
        self.open(&Call { method: Method::GET, target, body: None }).await
    }

    async fn pages<P: DeserializeOwned, T>(
        &self,
        what: &'static str,
        path: &str,
        query: &Query,
        parts: impl Fn(P) -> (Vec<T>, String),
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        let mut token = String::new();
        for _ in 0..PAGES {
            let page = self.get(path, &query.clone().with_some("nextPageToken", &token)).await?;
            let (items, next) = parts(page);
            all.extend(items);
            if next.is_empty() {
                return Ok(all);
            }
            token = next;
        }
        Err(Error::Endless(what))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, Error> {
        let target = format!("{path}?{}", query.as_str());
        let body = self.ask(&Call { method: Method::GET, target: target.clone(), body: None }).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::NoJson(self.endpoint().address(&target), error.to_string()))
    }

    async fn write<B: Serialize>(&self, method: Method, path: &str, body: &B) -> Result<bytes::Bytes, Error> {
        let target = format!("{path}?{}", Query::default().as_str());
        let address = || self.endpoint().address(&target);
        let body = encode(body).map_err(|error| Error::NoJson(address(), error.to_string()))?;
        self.ask(&Call { method, target: target.clone(), body: Some(body) }).await
    }

    async fn exchange<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, Error> {
        let answer = self.write(method, path, body).await?;
        serde_json::from_slice(&answer)
            .map_err(|error| Error::NoJson(self.endpoint().address(path), error.to_string()))
    }
}
