//! The kernel's side of a network: the device, the tables, and the rules.

use std::{collections::BTreeSet, net::Ipv4Addr};

use anyhow::{Context, Result, bail};
use flannel_core::{
    Backend, ExternalInterface, Host, Ignored, Interface, InterfaceChoice, LeaseAttributes, LeaseSet,
    MacAddress, NetworkConfig, Rule, Settings, Step, Tables, VxlanDevice, check_overlap, forward_rules,
    masquerade_rules, owns_route,
};
use flannel_network::{Firewall, FirewallOutcome, Links, Network, Outcome};
use ipnet::Ipv4Net;

use crate::io::machine::stable_mac;

/// The kernel's objects of one network.
pub struct DataPlane {
    pub network: Network,
    pub firewall: Firewall,
    pub external: ExternalInterface,
    pub config: NetworkConfig,
    pub backend: Backend,
    /// Index of flanneld's device; none before it exists, and for backends without one.
    pub device: Option<u32>,
    /// Its MAC address, once it was published.
    pub mac: Option<MacAddress>,
}

/// What the leases require, in comparison with the kernel.
pub struct Plan {
    pub steps: Vec<Step>,
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
        let plane = DataPlane { network, firewall, external, config, backend, device: None, mac: None };
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
            Backend::Udp { .. } | Backend::Wireguard(_) => {
                bail!("backend {} is not available in this version: use vxlan or host-gw", self.backend)
            }
            Backend::Vxlan(_) | Backend::HostGw | Backend::Alloc => Ok(()),
        }
    }

    /// Creates the device or restores it, and returns the value that the lease is to have.
    pub async fn create_device(&mut self) -> Result<LeaseAttributes> {
        let public_ip = self.external.public_ip;
        let Backend::Vxlan(settings) = self.backend else {
            return Ok(LeaseAttributes::plain(public_ip, self.backend.lease_type()));
        };
        let name = format!("flannel.{}", settings.vni);
        let device = VxlanDevice {
            vni: settings.vni,
            port: settings.port,
            group_policy: settings.group_policy,
            underlay: self.external.index,
            local: self.external.address,
            mac: self.mac(&name).await?,
            mtu: self.backend.mtu(self.external.mtu),
            name,
        };
        let ensured = self
            .network
            .ensure_vxlan(&device)
            .await
            .with_context(|| format!("cannot create {}", device.name))?;
        match ensured.outcome {
            Outcome::Kept => {}
            Outcome::Created => tracing::info!("created device {} with address {}", device.name, device.mac),
            Outcome::Changed => tracing::info!("restored address and MTU of device {}", device.name),
            Outcome::Recreated(reason) => tracing::info!("created device {} again: {reason}", device.name),
        }
        self.device = Some(ensured.index);
        self.mac = Some(device.mac);
        Ok(LeaseAttributes::vxlan(public_ip, device.mac))
    }

    /// The address of the device: the published one, else that of a device that exists, which peers have, else the
    /// machine's.
    pub async fn mac(&self, name: &str) -> Result<MacAddress> {
        if let Some(mac) = self.mac {
            return Ok(mac);
        }
        let existing = self.network.existing_vxlan(name).await.context("cannot read the vxlan device")?;
        Ok(existing.map_or_else(|| stable_mac(name, self.external.public_ip), |device| device.mac))
    }

    /// Gives the device the address from which the host's own packets to containers are sent.
    pub async fn set_address(&self, subnet: Ipv4Net) -> Result<()> {
        let Some(device) = self.device else { return Ok(()) };
        let address = Ipv4Net::new_assert(subnet.network(), 32);
        self.network.ensure_address(device, address).await.context("cannot set the address of the device")?;
        Ok(())
    }

    /// Compares the tables with what the leases require.
    pub async fn plan(&self, leases: &LeaseSet, subnet: Ipv4Net) -> Result<Plan> {
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
        let observed = self.observe().await?;
        Ok(Plan { steps: leases.plan(&observed, &desired.tables), ignored: desired.ignored })
    }

    /// The tables as they are.
    pub async fn observe(&self) -> Result<Tables> {
        let owned = |subnet: &Ipv4Net, route: &_| owns_route(&self.config, *subnet, route);
        self.network
            .observe(self.links(), owned)
            .await
            .context("cannot read routes, neighbors and forwarding entries")
    }

    fn links(&self) -> Links {
        Links { overlay: self.device, external: self.external.index }
    }

    /// Executes the steps. A failed one is logged, and is planned again.
    pub async fn apply(&self, steps: &[Step]) {
        for step in steps {
            tracing::info!("{} ({})", step.change, step.reason);
        }
        for (step, error) in self.network.apply(self.links(), steps).await {
            tracing::error!("{} ({}): {}", step.change, step.reason, service::error::chain(&error));
        }
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
