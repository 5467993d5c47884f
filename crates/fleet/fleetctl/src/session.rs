//! Connections to the cluster: its API, its registry in etcd, or an SSH tunnel.

use std::sync::Arc;

use etcd_client::{Config, Order};
use fleet_client::{Client, Dial, Direct, Endpoint, Trace, Transport};
use tokio::sync::OnceCell;

use crate::etcd_registry::EtcdRegistry;
use crate::failure::Failure;
use crate::global::{Driver, ETCD_PORTS, Global};
use crate::registry::Registry;
use crate::ssh_settings::{format_ssh_error, settings};
use crate::tunnel::Tunnel;
use crate::version;

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

    /// The connection to `--tunnel`, opened on first use.
    pub async fn tunnel(&self) -> Result<Option<Arc<Tunnel>>, Failure> {
        let open = async || {
            let Some(host) = &self.global.ssh.tunnel else { return Ok(None) };
            let opened = Tunnel::open(host, &settings(&self.global.ssh, self.is_unix_endpoint())).await;
            let prefix = "Unable to initialize client: failed initializing SSH client: ";
            let tunnel = opened.map_err(|error| Failure::new(format_ssh_error(prefix, &error)))?;
            Ok(Some(Arc::new(tunnel)))
        };
        self.tunnel.get_or_try_init(open).await.cloned()
    }

    pub async fn registry(&self) -> Result<Registry, Failure> {
        let through_tunnel = self.global.ssh.tunnel.is_some();
        match self.global.driver {
            Driver::Etcd if through_tunnel => {
                Err(unable("a tunnel leads to the API of a fleetd, not to etcd: use --driver=API"))
            }
            Driver::Etcd => {
                let etcd_registry = self.etcd_registry()?;
                if let Ok(versions) = etcd_registry.versions().await {
                    version::warn_of_newer(&versions);
                }
                Ok(Registry::Etcd(etcd_registry))
            }
            Driver::Auto if !through_tunnel && self.is_etcd().await => {
                Ok(Registry::Etcd(self.etcd_registry()?))
            }
            Driver::Api | Driver::Auto => self.api().await,
        }
    }

    /// Whether all endpoints have a port of etcd and one speaks its API.
    async fn is_etcd(&self) -> bool {
        let endpoints = self.global.endpoint.split(',').map(|text| text.trim().parse::<Endpoint>());
        let ports = endpoints.map(|endpoint| endpoint.ok().and_then(|endpoint| endpoint.port()));
        if !ports.into_iter().all(|port| port.is_some_and(|port| ETCD_PORTS.contains(&port))) {
            return false;
        }
        match self.etcd_registry() {
            Ok(etcd_registry) => etcd_registry.is_reachable().await,
            Err(_) => false,
        }
    }

    fn etcd_registry(&self) -> Result<EtcdRegistry, Failure> {
        let endpoints: Result<Vec<etcd_client::Endpoint>, _> =
            self.global.endpoint.split(',').map(|text| text.trim().parse()).collect();
        let mut config = Config::new(endpoints.map_err(unable)?);
        config.order = Order::Configured;
        config.tls = self.global.tls.clone();
        config.request_timeout = self.global.request_timeout;
        let tries = u32::try_from(config.endpoints.len()).unwrap_or(u32::MAX);
        config.total_timeout = self.global.request_timeout.saturating_mul(tries);
        if self.global.debug {
            let report = |traced: &etcd_client::TracedRequest<'_>| {
                eprintln!("DEBUG: HTTP {} {} {}", traced.method, traced.url, traced.body.unwrap_or_default());
            };
            config.trace = Some(etcd_client::Trace(Arc::new(report)));
        }
        let client = etcd_client::Client::new(config).map_err(unable)?;
        Ok(EtcdRegistry::new(client, &self.global.key_prefix))
    }

    /// For a Unix socket, the agent is forwarded to the tunnel's machine, as in fleet.
    fn is_unix_endpoint(&self) -> bool {
        let first = self.global.endpoint.split(',').next().unwrap_or_default();
        let endpoint = first.trim().parse::<Endpoint>();
        endpoint.is_ok_and(|endpoint| matches!(endpoint.transport, Transport::Unix(_)))
    }

    async fn api(&self) -> Result<Registry, Failure> {
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
        let report = |method: &str, url: &str, body: &str| {
            eprintln!("{}", format!("DEBUG: HTTP {method} {url} {body}").trim_end());
        };
        let trace = self.global.debug.then(|| Trace(Arc::new(report)));
        Ok(Registry::Api(Client::new(endpoint, dial, tls, self.global.request_timeout, trace)))
    }
}
