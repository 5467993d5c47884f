//! Which subnet a host leases when it starts.

use std::{collections::BTreeMap, time::Duration};

use ipnet::Ipv4Net;

use crate::{
    config::NetworkConfig,
    lease::{Lease, LeaseAttributes},
    limits::{FIRST_CANDIDATES, LEASE_TTL},
};

/// What a host that needs a lease knows.
#[derive(Debug)]
pub struct Acquisition<'a> {
    /// The network.
    pub config: &'a NetworkConfig,
    /// The value that the lease is to have.
    pub attributes: &'a LeaseAttributes,
    /// The subnet of the daemon's last run, from the subnet file.
    pub previous: Option<Ipv4Net>,
    /// Every lease of the network at one index.
    pub leases: &'a [Lease],
    /// Attempts that another host was faster in.
    pub failed_attempts: u32,
}

/// A write of a lease. If its condition does not hold when it is executed, the leases are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// The lease's subnet.
    pub subnet: Ipv4Net,
    /// What is done to the key.
    pub operation: LeaseOperation,
    /// For the log.
    pub reason: String,
}

/// An operation on a lease's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum LeaseOperation {
    /// Create the key with the lease's TTL; the condition is that there is none.
    Create,
    /// Replace the value; the condition is the index of the last write. Without a TTL the lease is a reservation, and
    /// remains one.
    Update { modified_index: u64, ttl: Option<Duration> },
    /// Delete the key; the condition is the index of the last write.
    Delete { modified_index: u64 },
}

/// Every subnet that the configuration allows is leased.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "out of subnets: every subnet of length {subnet_len} in {network} from SubnetMin to SubnetMax is leased"
)]
pub struct OutOfSubnets {
    subnet_len: u8,
    network: Ipv4Net,
}

impl Acquisition<'_> {
    /// The writes that lead to a lease, in order; all but the last one delete. `random(n)` is a number below `n`.
    ///
    /// The host's lease is the one with its public address; else the previous one, unless another device has it now;
    /// else a free one.
    ///
    /// # Errors
    /// No subnet is free.
    pub fn plan(&self, random: &mut dyn FnMut(usize) -> usize) -> Result<Vec<LeaseWrite>, OutOfSubnets> {
        let mut writes = Vec::new();
        let address = self.attributes.public_ip;
        if let Some(lease) = self.leases.iter().find(|lease| lease.attributes.public_ip == address) {
            if self.config.allows(lease.subnet) {
                let reason = format!("Found lease ({}) for current IP ({address}), reusing", lease.subnet);
                return Ok(vec![update(lease, reason)]);
            }
            writes.push(delete(lease, &format!("for current IP ({address})")));
        }
        if let Some(previous) = self.previous.map(|subnet| subnet.trunc()) {
            match self.leases.iter().find(|lease| lease.subnet == previous) {
                // Deleted above.
                Some(lease) if lease.attributes.public_ip == address => {}
                Some(lease) if lease.attributes.is_of_another_device(self.attributes) => {}
                Some(lease) if self.config.allows(previous) => {
                    let reason =
                        format!("Found lease ({previous}) matching previously leased subnet, reusing");
                    writes.push(update(lease, reason));
                    return Ok(writes);
                }
                Some(lease) => writes.push(delete(lease, "matching previously leased subnet")),
                None if self.config.allows(previous) && !self.overlaps(previous) => {
                    let reason = format!("Found previously leased subnet ({previous}), reusing");
                    writes.push(create(previous, reason));
                    return Ok(writes);
                }
                None => {}
            }
        }
        let subnet = self.choose(&writes, random)?;
        let NetworkConfig { subnet_min, subnet_max, .. } = self.config;
        writes.push(create(subnet, format!("Picking subnet in range {subnet_min} ... {subnet_max}")));
        Ok(writes)
    }

    fn overlaps(&self, subnet: Ipv4Net) -> bool {
        self.leases.iter().any(|lease| overlap(lease.subnet, subnet))
    }

    /// A random free subnet. Many hosts that start together would meet in the first few, so that only the first
    /// attempt is limited to those: the expected number of attempts does not grow with the number of hosts.
    fn choose(
        &self,
        writes: &[LeaseWrite],
        random: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Ipv4Net, OutOfSubnets> {
        let deleted = |subnet: Ipv4Net| writes.iter().any(|write| write.subnet == subnet);
        let mut leased: Vec<Ipv4Net> =
            self.leases.iter().map(|lease| lease.subnet).filter(|subnet| !deleted(*subnet)).collect();
        leased.sort_unstable();
        // The first address of each lease, with the last one of all leases up to it: leases of other lengths may be
        // nested.
        let mut end = 0;
        let taken: BTreeMap<u32, u32> = leased
            .iter()
            .map(|subnet| {
                end = end.max(u32::from(subnet.broadcast()));
                (u32::from(subnet.network()), end)
            })
            .collect();
        let free = self.config.subnets().filter(|subnet| {
            let (first, last) = (u32::from(subnet.network()), u32::from(subnet.broadcast()));
            taken.range(..=last).next_back().is_none_or(|(_, end)| *end < first)
        });
        let candidates: Vec<Ipv4Net> = match self.failed_attempts {
            0 => free.take(FIRST_CANDIDATES).collect(),
            _ => free.collect(),
        };
        match candidates.len() {
            0 => Err(OutOfSubnets { subnet_len: self.config.subnet_len, network: self.config.network }),
            number => Ok(candidates[random(number)]),
        }
    }
}

/// Whether networks have addresses in common: one contains the other.
pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b) || b.contains(&a)
}

fn create(subnet: Ipv4Net, reason: String) -> LeaseWrite {
    LeaseWrite { subnet, operation: LeaseOperation::Create, reason }
}

fn update(lease: &Lease, reason: String) -> LeaseWrite {
    let operation =
        LeaseOperation::Update { modified_index: lease.modified_index, ttl: lease.ttl.map(|_| LEASE_TTL) };
    LeaseWrite { subnet: lease.subnet, operation, reason }
}

fn delete(lease: &Lease, whose: &str) -> LeaseWrite {
    LeaseWrite {
        subnet: lease.subnet,
        operation: LeaseOperation::Delete { modified_index: lease.modified_index },
        reason: format!(
            "Found lease ({}) {whose} but not compatible with current config, deleting",
            lease.subnet
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);

    fn lease(subnet: &str, host: u8, backend_data: serde_json::Value, ttl: Option<u64>) -> Lease {
        let public_ip = Ipv4Addr::new(192, 168, 0, host);
        Lease {
            subnet: subnet.parse().unwrap(),
            attributes: LeaseAttributes { public_ip, backend_type: "vxlan".into(), backend_data },
            ttl: ttl.map(Duration::from_secs),
            modified_index: 7,
        }
    }

    fn mac(last: u8) -> serde_json::Value {
        serde_json::json!({ "VtepMAC": format!("02:00:00:00:00:{last:02x}") })
    }

    fn check(previous: Option<&str>, leases: &[Lease], expected: &[&str]) {
        let config = NetworkConfig::parse(r#"{"Network":"10.1.0.0/20"}"#).unwrap();
        let attributes =
            LeaseAttributes { public_ip: OWN, backend_type: "vxlan".into(), backend_data: mac(1) };
        let previous = previous.map(|subnet| subnet.parse().unwrap());
        let acquisition =
            Acquisition { config: &config, attributes: &attributes, previous, leases, failed_attempts: 0 };
        let got = match acquisition.plan(&mut |_| 0) {
            Ok(writes) => writes
                .iter()
                .map(|write| match write.operation {
                    LeaseOperation::Create => format!("create {}", write.subnet),
                    LeaseOperation::Update { ttl, .. } => {
                        format!("update {} {}", write.subnet, ttl.map_or(0, |ttl| ttl.as_secs()))
                    }
                    LeaseOperation::Delete { .. } => format!("delete {}", write.subnet),
                })
                .collect(),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(got, expected, "{previous:?} {leases:?}");
    }

    #[test]
    fn the_lease_of_the_own_address() {
        check(None, &[], &["create 10.1.1.0/24"]);
        check(None, &[lease("10.1.4.0/24", 1, mac(9), Some(5))], &["update 10.1.4.0/24 86400"]);
        check(None, &[lease("10.1.4.0/24", 1, serde_json::Value::Null, None)], &["update 10.1.4.0/24 0"]);
        check(
            None,
            &[lease("10.1.0.0/25", 1, mac(1), Some(5)), lease("10.1.1.0/24", 2, mac(2), Some(5))],
            &["delete 10.1.0.0/25", "create 10.1.2.0/24"],
        );
    }

    #[test]
    fn the_previous_subnet() {
        check(Some("10.1.5.1/24"), &[], &["create 10.1.5.0/24"]);
        // The host's address changed.
        check(
            Some("10.1.5.1/24"),
            &[lease("10.1.5.0/24", 2, mac(1), Some(5))],
            &["update 10.1.5.0/24 86400"],
        );
        // Another host took it.
        check(Some("10.1.5.1/24"), &[lease("10.1.5.0/24", 2, mac(2), Some(5))], &["create 10.1.1.0/24"]);
        // The configuration changed.
        check(Some("10.1.5.1/25"), &[], &["create 10.1.1.0/24"]);
        check(Some("10.2.5.1/24"), &[], &["create 10.1.1.0/24"]);
        check(
            Some("10.1.0.1/24"),
            &[lease("10.1.0.0/24", 1, mac(1), Some(5))],
            &["delete 10.1.0.0/24", "create 10.1.1.0/24"],
        );
    }

    #[test]
    fn free_subnets_overlap_no_lease() {
        check(None, &[lease("10.1.0.0/22", 2, mac(2), None)], &["create 10.1.4.0/24"]);
        check(
            None,
            &[lease("10.1.0.0/21", 2, mac(2), None), lease("10.1.2.0/24", 3, mac(3), None)],
            &["create 10.1.8.0/24"],
        );
        check(None, &[lease("10.1.1.128/26", 2, mac(2), None)], &["create 10.1.2.0/24"]);
        check(
            None,
            &[lease("10.1.0.0/20", 2, mac(2), None)],
            &[
                "out of subnets: every subnet of length 24 in 10.1.0.0/20 from SubnetMin to SubnetMax is leased",
            ],
        );
    }
}
