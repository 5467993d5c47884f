//! The kernel's side of a network: the device, the tables, and the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context, Result, bail};
use flannel_core::{
    Backend, Change, Desired, ExternalInterface, Host, Ignored, Interface, InterfaceChoice, LeaseAttributes,
    LeaseSet, NetworkConfig, Rule, Settings, Step, SubnetFile, Tables, WireguardKey, check_overlap,
    forward_rules, masquerade_rules, owns_route,
};
use flannel_network::{Firewall, FirewallOutcome, Links, Network, OwnDevice};
use ipnet::Ipv4Net;

use crate::{
    daemon::overlay::{Overlay, Underlay},
    io::subnet_file,
};

/// The kernel's objects of one network.
pub struct DataPlane {
    pub network: Network,
    pub firewall: Firewall,
    pub external: ExternalInterface,
    pub config: NetworkConfig,
    pub backend: Backend,
    /// The last run's file: it may have had another network.
    pub former: Option<SubnetFile>,
    pub overlay: Overlay,
    /// Endpoints of WireGuard's peers as they were set: the kernel follows peers to others.
    endpoints: BTreeMap<WireguardKey, SocketAddrV4>,
}

/// What the leases require, in comparison with the kernel.
pub struct Plan {
    pub steps: Vec<Step>,
    /// Hosts to which flanneld itself sends packets.
    pub datagrams: BTreeMap<Ipv4Net, SocketAddrV4>,
    pub ignored: Vec<Ignored>,
}

/// Chooses the interface to the other hosts; returns it with all interfaces.
pub async fn external_interface(
    network: &Network,
    choice: &InterfaceChoice,
) -> Result<(ExternalInterface, Vec<Interface>)> {
    let interfaces = network.interfaces().await?;
    let default = network.default_interface().await?;
    let external = choice.choose(&interfaces, default)?;
    Ok((external, interfaces))
}

/// Logs the choice in flannel's words.
pub fn log_interface(external: &ExternalInterface) {
    tracing::info!("Using interface with name {} and address {}", external.name, external.address);
    if external.public_ip == external.address {
        tracing::info!("Defaulting external address to interface address ({})", external.address);
    } else {
        tracing::info!("Using {} as external address", external.public_ip);
    }
}

fn underlay<'a>(network: &'a Network, external: &'a ExternalInterface, backend: &Backend) -> Underlay<'a> {
    Underlay { network, external, mtu: backend.mtu(external.mtu) }
}

impl DataPlane {
    /// The objects of a configuration, none of which is created yet, and all interfaces.
    pub async fn open(
        network: Network,
        settings: &Settings,
        config: NetworkConfig,
    ) -> Result<(DataPlane, Vec<Interface>)> {
        let backend = Backend::parse(&config, &settings.default_backend).context("Error fetching backend")?;
        let (external, interfaces) = external_interface(&network, &settings.interface).await?;
        let firewall = Firewall::open()?;
        let overlay = Overlay::new(&backend, settings);
        let endpoints = BTreeMap::new();
        let former = subnet_file::read(&settings.subnet_file);
        let plane = DataPlane { network, firewall, external, config, backend, former, overlay, endpoints };
        Ok((plane, interfaces))
    }

    /// Refuses what cannot work before anything is changed.
    pub fn check(&self, interfaces: &[Interface]) -> Result<()> {
        check_overlap(self.config.network, &self.external, interfaces)?;
        let ExternalInterface { address, public_ip, .. } = self.external;
        match self.backend {
            Backend::HostGw if address != public_ip => {
                bail!(
                    "your PublicIP differs from interface IP, meaning that probably you're on a NAT, which is not \
                       supported by host-gw backend: -public-ip is {public_ip}, the interface has {address}"
                )
            }
            _ => Ok(()),
        }
    }

    /// Creates or restores the part of the device that the lease publishes, and returns the value that the lease is to
    /// have.
    pub async fn prepare_device(&mut self) -> Result<LeaseAttributes> {
        let on = underlay(&self.network, &self.external, &self.backend);
        self.overlay.prepare(on).await
    }

    /// Completes the device with its address.
    pub async fn complete_device(&mut self, subnet: Ipv4Net) -> Result<()> {
        let on = underlay(&self.network, &self.external, &self.backend);
        self.overlay.complete(on, subnet).await
    }

    /// The value that the lease would have; uses an existing device, and creates none.
    pub async fn observe_device(&mut self) -> Result<LeaseAttributes> {
        let on = underlay(&self.network, &self.external, &self.backend);
        self.overlay.observe(on).await
    }

    /// Devices of the backend that the network, or the former one, had before: packets would still leave through them.
    pub async fn devices_of_other_backends(&self) -> Result<Vec<OwnDevice>> {
        let networks: Vec<_> = self.networks().map(|(network, _)| network).collect();
        let devices = self.network.devices_with_routes(&networks, self.overlay.index()).await;
        devices.context("cannot look for devices of other backends")
    }

    /// Removes those devices.
    pub async fn remove_devices_of_other_backends(&self) -> Result<()> {
        let devices = self.devices_of_other_backends().await?;
        for device in &devices {
            tracing::info!(
                "removing device {}: it has routes to the network, of another backend",
                device.name
            );
        }
        self.network.remove_devices(&devices).await.context("cannot remove devices of other backends")
    }

    /// Compares the tables with what the leases require.
    pub async fn plan(&mut self, leases: &LeaseSet, subnet: Ipv4Net) -> Result<Plan> {
        let no_direct = BTreeSet::new();
        let mut host = Host {
            config: &self.config,
            backend: &self.backend,
            subnet,
            public_ip: self.external.public_ip,
            direct: &no_direct,
        };
        let direct = match self.backend {
            Backend::Vxlan(settings) if settings.direct_routing => {
                let addresses: Vec<Ipv4Addr> = leases.public_addresses(&host).collect();
                self.network
                    .routes_directly(self.external.index, addresses)
                    .await
                    .context("cannot look routes up")?
            }
            _ => BTreeSet::new(),
        };
        host.direct = &direct;
        let desired = leases.desired(&host);
        let mut observed = self.observe().await?;
        observed.ignore_roaming(&self.endpoints);
        self.endpoints.retain(|key, _| desired.tables.peers.contains_key(key));
        for (key, peer) in &desired.tables.peers {
            if observed.peers.get(key) == Some(peer) {
                self.endpoints.insert(*key, peer.endpoint);
            }
        }
        let steps = leases.plan(&observed, &desired.tables);
        let Desired { datagrams, ignored, .. } = desired;
        Ok(Plan { steps, datagrams, ignored })
    }

    /// The tables as they are.
    pub async fn observe(&self) -> Result<Tables> {
        let owned = |subnet: &Ipv4Net, route: &_| {
            self.networks().any(|(network, subnet_len)| owns_route(network, subnet_len, *subnet, route))
        };
        self.network
            .observe(self.links(), owned)
            .await
            .context("cannot read routes, neighbors and forwarding entries")
    }

    /// The network and the former one, each with the prefix length of its subnets.
    fn networks(&self) -> impl Iterator<Item = (Ipv4Net, u8)> {
        let former = self.former.iter().map(|file| (file.network, file.bridge.prefix_len()));
        former.chain([(self.config.network, self.config.subnet_len)])
    }

    fn links(&self) -> Links {
        Links { overlay: self.overlay.index(), external: self.external.index }
    }

    /// Executes the plan. A failed step is logged; true if there is none.
    pub async fn apply(&mut self, plan: &Plan) -> bool {
        self.overlay.set_hosts(&plan.datagrams);
        for step in &plan.steps {
            tracing::info!("{} ({})", step.change, step.reason);
        }
        let failed = self.network.apply(self.links(), &plan.steps).await;
        for (step, error) in &failed {
            tracing::error!("{} ({}): {}", step.change, step.reason, service::error::chain(error));
        }
        for step in plan.steps.iter().filter(|step| failed.iter().all(|(failed, _)| failed != *step)) {
            if let Change::SetPeer { key, peer } = &step.change {
                self.endpoints.insert(*key, peer.endpoint);
            }
        }
        failed.is_empty()
    }

    /// Restores the rules of the packet filter; true if they were not as required.
    pub async fn ensure_rules(&self, rules: &[Rule]) -> Result<bool> {
        let outcome =
            self.firewall.ensure_rules(rules).await.context("cannot set the rules of the packet filter")?;
        Ok(outcome == FirewallOutcome::Ensured)
    }

    /// The rules of the packet filter for this host's subnet.
    pub fn rules(&self, subnet: Ipv4Net, masquerade: bool, forward: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        if masquerade {
            rules.extend(masquerade_rules(self.config.network, subnet));
        }
        if forward {
            rules.extend(forward_rules(self.config.network));
        }
        rules
    }
}
