//! The way from checked flags to the cluster: its API, and its machines.

use std::sync::Arc;

use fleet_client::{Client, Dial, Direct, Endpoint, Trace};
use tokio::sync::OnceCell;

use crate::access::{settings, told};
use crate::failure::Failure;
use crate::global::{Driver, Global};
use crate::registry::Registry;
use crate::tunnel::Tunnel;

pub struct Session {
    pub global: Global,
    tunnel: OnceCell<Option<Arc<Tunnel>>>,
}

fn unable(cause: impl std::fmt::Display) -> Failure {
    Failure::new(format!("Unable to initialize client: {cause}"))
}

impl Session {
    pub fn new(global: Global) -> Session {
        Session { global, tunnel: OnceCell::new() }
    }

    /// The connection to `--tunnel`, opened at its first use.
    pub async fn tunnel(&self) -> Result<Option<Arc<Tunnel>>, Failure> {
        let open = async || {
            let Some(host) = &self.global.ssh.tunnel else { return Ok(None) };
            let opened = Tunnel::open(host, &settings(&self.global.ssh)).await;
            let prefix = "Unable to initialize client: failed initializing SSH client: ";
            let tunnel = opened.map_err(|error| Failure::new(told(prefix, &error)))?;
            Ok(Some(Arc::new(tunnel)))
        };
        self.tunnel.get_or_try_init(open).await.cloned()
    }

    pub async fn registry(&self) -> Result<Registry, Failure> {
        if self.global.driver == Driver::Etcd {
            return Err(unable("the etcd driver is not in this build yet, ask a fleetd: --driver=API"));
        }
        let mut endpoints = self.global.endpoint.split(',').map(str::trim);
        let first = endpoints.next().unwrap_or_default();
        if endpoints.next().is_some() {
            eprintln!("WARNING: the API has one endpoint, {first} is used and the others are not");
        }
        let endpoint: Endpoint = first.parse().map_err(unable)?;
        let tls = match endpoint.is_tls() {
            true => Some(self.global.tls.load(true).map_err(unable)?),
            false => None,
        };
        let dial: Arc<dyn Dial> = match self.tunnel().await? {
            Some(tunnel) => tunnel,
            None => Arc::new(Direct),
        };
        let tell = |method: &str, url: &str, body: &str| eprintln!("DEBUG: HTTP {method} {url} {body}");
        let trace = self.global.debug.then(|| Trace(Arc::new(tell)));
        Ok(Registry::Api(Client::new(endpoint, dial, tls, self.global.request_timeout, trace)))
    }
}
