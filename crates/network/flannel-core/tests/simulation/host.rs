//! A host: its daemon, which may stop at any time, and its kernel, which keeps what was set.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

use flannel_core::{
    Acquisition, Backend, Change, Host as Place, Lease, LeaseAttributes, LeaseSet, MacAddress, NetworkConfig,
    OutOfSubnets, OwnLease, RouteLink, Tables, VxlanSettings,
};
use ipnet::Ipv4Net;

use crate::store::{Network, Report};

pub const MARGIN: Duration = Duration::from_secs(3600);

const BACKEND: Backend =
    Backend::Vxlan(VxlanSettings { vni: 1, port: 8472, group_policy: false, direct_routing: false });

pub struct Host {
    pub public_ip: Ipv4Addr,
    pub mac: MacAddress,
    pub daemon: Daemon,
    /// The subnet file.
    pub previous: Option<Ipv4Net>,
    pub kernel: Tables,
}

pub enum Daemon {
    Stopped,
    /// Has read the leases, and not yet written.
    Joining {
        leases: Vec<Lease>,
        failed_attempts: u32,
    },
    Running {
        own: Box<OwnLease>,
        leases: LeaseSet,
        index: u64,
    },
}

impl Host {
    pub fn new(number: usize) -> Host {
        let [.., high, low] = number.to_be_bytes();
        Host {
            public_ip: Ipv4Addr::new(192, 168, high, low),
            mac: MacAddress([2, 0, 0, 0, high, low]),
            daemon: Daemon::Stopped,
            previous: None,
            kernel: Tables::default(),
        }
    }

    pub fn attributes(&self) -> LeaseAttributes {
        LeaseAttributes::vxlan(self.public_ip, self.mac)
    }

    pub fn own(&self) -> Option<&OwnLease> {
        match &self.daemon {
            Daemon::Running { own, .. } => Some(own),
            _ => None,
        }
    }

    /// Starts the daemon up to its read of the leases.
    pub fn start(&mut self, network: &Network) {
        self.daemon = Daemon::Joining { leases: network.leases().0, failed_attempts: 0 };
    }

    /// The power fails: kernel and `/run` are empty afterwards.
    pub fn reboot(&mut self) {
        self.daemon = Daemon::Stopped;
        self.previous = None;
        self.kernel = Tables::default();
    }

    /// Plans with the leases that were read, which may be old, and writes.
    pub fn join(
        &mut self,
        network: &mut Network,
        config: &NetworkConfig,
        random: &mut fastrand::Rng,
    ) -> Result<(), OutOfSubnets> {
        let attributes = self.attributes();
        let Daemon::Joining { leases, failed_attempts } = &mut self.daemon else { return Ok(()) };
        let failed = *failed_attempts;
        let acquisition = Acquisition {
            config,
            attributes: &attributes,
            previous: self.previous,
            leases,
            failed_attempts: failed,
        };
        let mut lease = None;
        for write in acquisition.plan(&mut |below| random.usize(..below))? {
            lease = network.execute(&write, &attributes);
            if lease.is_none() {
                self.daemon = Daemon::Joining { leases: network.leases().0, failed_attempts: failed + 1 };
                return Ok(());
            }
        }
        let lease = lease.expect("a plan ends with a lease");
        self.previous = Some(lease.subnet);
        let (all, index) = network.leases();
        let mut leases = LeaseSet::default();
        leases.replace(all);
        let own = Box::new(OwnLease::new(lease, MARGIN, network.now()));
        self.daemon = Daemon::Running { own, leases, index };
        Ok(())
    }

    /// Takes one event; false if there is none.
    pub fn take_event(&mut self, network: &Network) -> bool {
        let Daemon::Running { own, leases, index } = &mut self.daemon else { return false };
        let subnet = own.lease().subnet;
        match network.watch(*index) {
            Report::Nothing => return false,
            Report::Cleared => {
                let (all, now) = network.leases();
                leases.replace(all);
                *index = now;
                own.observed(network.read(subnet).0.state(), now, network.now());
            }
            Report::Event { index: at, subnet: changed, found } => {
                *index = at;
                if let Some(changed) = changed {
                    if changed == subnet {
                        own.observed(found.state(), at, network.now());
                    }
                    match found.lease() {
                        Some(lease) => leases.set(lease),
                        None => leases.remove(changed),
                    }
                }
            }
        }
        true
    }

    /// Executes what is due of the own lease; false if nothing is.
    pub fn keep_lease(&mut self, network: &mut Network) -> bool {
        let Daemon::Running { own, .. } = &mut self.daemon else { return false };
        let now = network.now();
        let Some((at, request)) = own.next() else { return false };
        if at > now {
            return false;
        }
        let (subnet, attributes) = (own.lease().subnet, own.attributes().clone());
        match network.request(request, subnet, &attributes) {
            Some(lease) => {
                own.written(lease.modified_index, lease.ttl, now);
            }
            None => {
                let (found, index) = network.read(subnet);
                own.observed(found.state(), index, now);
            }
        }
        true
    }

    /// Brings the kernel to what the leases require. At no step does a route lack the entries that it needs.
    pub fn reconcile(&mut self, config: &NetworkConfig) {
        let Daemon::Running { own, leases, .. } = &self.daemon else { return };
        let direct = BTreeSet::new();
        let (subnet, public_ip) = (own.lease().subnet, self.public_ip);
        let place = Place { config, backend: &BACKEND, subnet, public_ip, direct: &direct };
        let desired = leases.desired(&place).tables;
        for step in leases.plan(&self.kernel, &desired) {
            apply(&mut self.kernel, &step.change);
            check_routes(&self.kernel);
        }
        assert_eq!(self.kernel, desired);
    }
}

fn apply(kernel: &mut Tables, change: &Change) {
    match change {
        Change::SetNeighbor { address, mac } => drop(kernel.neighbors.insert(*address, *mac)),
        Change::SetForwarding { mac, host } => drop(kernel.forwarding.insert(*mac, *host)),
        Change::SetPeer { key, peer } => drop(kernel.peers.insert(*key, peer.clone())),
        Change::SetRoute { subnet, route } => drop(kernel.routes.insert(*subnet, *route)),
        Change::RemoveRoute { subnet, .. } => assert!(kernel.routes.remove(subnet).is_some()),
        Change::RemovePeer { key } => assert!(kernel.peers.remove(key).is_some()),
        Change::RemoveForwarding { mac, .. } => assert!(kernel.forwarding.remove(mac).is_some()),
        Change::RemoveNeighbor { address, .. } => assert!(kernel.neighbors.remove(address).is_some()),
    }
}

fn check_routes(kernel: &Tables) {
    for (subnet, route) in kernel.routes.iter().filter(|(_, route)| route.link == RouteLink::Overlay) {
        let gateway = route.gateway.unwrap();
        let mac =
            kernel.neighbors.get(&gateway).unwrap_or_else(|| panic!("{subnet} has no neighbor: {kernel:?}"));
        assert!(kernel.forwarding.contains_key(mac), "{subnet} has no forwarding entry: {kernel:?}");
    }
}
