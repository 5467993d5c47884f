use serde_json::json;

use super::*;
use crate::{lease::LeaseAttributes, wireguard_key::WireguardKey};

fn leases() -> LeaseSet {
    let mut set = LeaseSet::default();
    let lease = |subnet: &str, host: u8, backend_type: &str, backend_data, modified_index| Lease {
        subnet: subnet.parse().unwrap(),
        attributes: LeaseAttributes {
            public_ip: Ipv4Addr::new(192, 168, 0, host),
            backend_type: backend_type.into(),
            backend_data,
        },
        ttl: None,
        modified_index,
    };
    let mac = |last: u8| json!({ "VtepMAC": format!("02:00:00:00:00:{last:02x}") });
    set.replace([
        lease("10.1.1.0/24", 1, "vxlan", mac(1), 1),
        lease("10.1.2.0/24", 2, "vxlan", mac(2), 2),
        lease("10.1.3.0/24", 3, "vxlan", mac(3), 3),
        // Left behind by a host whose address changed.
        lease("10.1.4.0/24", 4, "vxlan", mac(3), 1),
        lease("10.1.5.0/24", 5, "vxlan", json!({}), 3),
        lease("10.1.6.0/24", 6, "host-gw", serde_json::Value::Null, 3),
        lease("10.1.7.0/24", 1, "vxlan", mac(7), 3),
        lease("10.1.1.128/25", 8, "vxlan", mac(8), 3),
        lease("10.2.0.0/24", 9, "vxlan", mac(9), 3),
        lease("10.1.10.0/24", 10, "", serde_json::Value::Null, 3),
        lease(
            "10.1.11.0/24",
            11,
            "wireguard",
            json!({"PublicKey": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}),
            3,
        ),
    ]);
    set
}

fn desired(set: &LeaseSet, backend: &str, direct: &[u8]) -> Desired {
    let text = format!(r#"{{"Network":"10.1.0.0/16","Backend":{backend}}}"#);
    let config = NetworkConfig::parse(&text).unwrap();
    let backend = Backend::parse(&config, "udp").unwrap();
    let direct = direct.iter().map(|host| Ipv4Addr::new(192, 168, 0, *host)).collect();
    set.desired(&Host {
        config: &config,
        backend: &backend,
        subnet: "10.1.1.0/24".parse().unwrap(),
        public_ip: Ipv4Addr::new(192, 168, 0, 1),
        direct: &direct,
    })
}

fn check(backend: &str, direct: &[u8], expected: &[&str]) {
    let set = leases();
    let desired = desired(&set, backend, direct);
    let mut got: Vec<String> = set
        .plan(&Tables::default(), &desired.tables)
        .iter()
        .map(|step| format!("{}  # {}", step.change, step.reason))
        .collect();
    got.extend(desired.datagrams.iter().map(|(subnet, host)| format!("{subnet} {host}")));
    assert_eq!(got, expected, "{backend}");
}

#[test]
fn entries_of_each_backend() {
    check(
        r#"{"Type":"vxlan"}"#,
        &[],
        &[
            "bridge fdb replace 02:00:00:00:00:02 dst 192.168.0.2 dev $DEV self permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "bridge fdb replace 02:00:00:00:00:03 dst 192.168.0.3 dev $DEV self permanent  # lease 10.1.3.0/24 of 192.168.0.3",
            "ip neigh replace 10.1.2.0 lladdr 02:00:00:00:00:02 dev $DEV nud permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip neigh replace 10.1.3.0 lladdr 02:00:00:00:00:03 dev $DEV nud permanent  # lease 10.1.3.0/24 of 192.168.0.3",
            "ip route replace 10.1.2.0/24 via 10.1.2.0 dev $DEV onlink  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip route replace 10.1.3.0/24 via 10.1.3.0 dev $DEV onlink  # lease 10.1.3.0/24 of 192.168.0.3",
        ],
    );
    check(
        r#"{"Type":"vxlan","DirectRouting":true}"#,
        &[3],
        &[
            "bridge fdb replace 02:00:00:00:00:02 dst 192.168.0.2 dev $DEV self permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "bridge fdb replace 02:00:00:00:00:03 dst 192.168.0.4 dev $DEV self permanent  # lease 10.1.4.0/24 of 192.168.0.4",
            "ip neigh replace 10.1.2.0 lladdr 02:00:00:00:00:02 dev $DEV nud permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip neigh replace 10.1.4.0 lladdr 02:00:00:00:00:03 dev $DEV nud permanent  # lease 10.1.4.0/24 of 192.168.0.4",
            "ip route replace 10.1.2.0/24 via 10.1.2.0 dev $DEV onlink  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip route replace 10.1.3.0/24 via 192.168.0.3 dev $EXT  # lease 10.1.3.0/24 of 192.168.0.3",
            "ip route replace 10.1.4.0/24 via 10.1.4.0 dev $DEV onlink  # lease 10.1.4.0/24 of 192.168.0.4",
        ],
    );
    check(
        r#"{"Type":"host-gw"}"#,
        &[],
        &["ip route replace 10.1.6.0/24 via 192.168.0.6 dev $EXT  # lease 10.1.6.0/24 of 192.168.0.6"],
    );
    check(
        r#"{"Type":"wireguard"}"#,
        &[],
        &[
            "wg set $DEV peer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= endpoint 192.168.0.11:51820 allowed-ips 10.1.11.0/24  # lease 10.1.11.0/24 of 192.168.0.11",
            "ip route replace 10.1.0.0/16 dev $DEV  # the network",
        ],
    );
    check(
        r#"{"Type":"udp"}"#,
        &[],
        &["ip route replace 10.1.0.0/16 dev $DEV  # the network", "10.1.10.0/24 192.168.0.10:8285"],
    );
    check(r#"{"Type":"alloc"}"#, &[], &[]);
}

#[test]
fn ignored_leases() {
    let ignored: Vec<String> =
        desired(&leases(), r#"{"Type":"vxlan"}"#, &[]).ignored.iter().map(ToString::to_string).collect();
    assert_eq!(
        ignored,
        [
            "ignoring subnet 10.1.1.128/25: it overlaps this host's subnet 10.1.1.0/24",
            "ignoring subnet 10.1.4.0/24: 192.168.0.3 has the same VtepMAC 02:00:00:00:00:03 in a newer lease",
            "ignoring subnet 10.1.5.0/24: BackendData.VtepMAC: is missing",
            "ignoring subnet 10.1.6.0/24: not of backend vxlan, type=\"host-gw\"",
            "ignoring subnet 10.1.7.0/24: its PublicIP 192.168.0.1 is this host's, which leases 10.1.1.0/24",
            "ignoring subnet 10.1.10.0/24: not of backend vxlan, type=\"\"",
            "ignoring subnet 10.1.11.0/24: not of backend vxlan, type=\"wireguard\"",
            "ignoring subnet 10.2.0.0/24: it is not within the network 10.1.0.0/16",
        ]
    );
}

#[test]
fn a_changed_device_replaces_its_entries_and_removes_the_old_one() {
    let mut set = leases();
    let before = desired(&set, r#"{"Type":"vxlan"}"#, &[]).tables;
    let mut lease = set.get("10.1.2.0/24".parse().unwrap()).unwrap().clone();
    lease.attributes.backend_data = json!({ "VtepMAC": "02:00:00:00:00:22" });
    lease.modified_index = 9;
    set.set(lease.clone());
    // A report of an older write comes late.
    set.set(Lease { modified_index: 2, ..lease });
    set.remove("10.1.3.0/24".parse().unwrap());
    set.remove("10.1.4.0/24".parse().unwrap());
    let after = desired(&set, r#"{"Type":"vxlan"}"#, &[]).tables;
    let got: Vec<String> =
        set.plan(&before, &after).iter().map(|step| format!("{}  # {}", step.change, step.reason)).collect();
    assert_eq!(
        got,
        [
            "bridge fdb replace 02:00:00:00:00:22 dst 192.168.0.2 dev $DEV self permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip neigh replace 10.1.2.0 lladdr 02:00:00:00:00:22 dev $DEV nud permanent  # lease 10.1.2.0/24 of 192.168.0.2",
            "ip route del 10.1.3.0/24 via 10.1.3.0 dev $DEV onlink  # no lease requires it",
            "ip neigh del 10.1.3.0 lladdr 02:00:00:00:00:03 dev $DEV  # no lease requires it",
            "bridge fdb del 02:00:00:00:00:02 dst 192.168.0.2 dev $DEV self  # not required by lease 10.1.2.0/24 of 192.168.0.2",
            "bridge fdb del 02:00:00:00:00:03 dst 192.168.0.3 dev $DEV self  # no lease requires it",
        ]
    );
}

#[test]
fn a_changed_key_replaces_the_peer() {
    let backend = r#"{"Type":"wireguard","PersistentKeepaliveInterval":25,"PSK":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="}"#;
    let mut set = leases();
    let before = desired(&set, backend, &[]).tables;
    let mut lease = set.get("10.1.11.0/24".parse().unwrap()).unwrap().clone();
    lease.attributes.backend_data = json!({ "PublicKey": WireguardKey([4; 32]) });
    lease.modified_index = 9;
    set.set(lease);
    let steps = |set: &LeaseSet, before: &Tables| -> Vec<String> {
        let after = desired(set, backend, &[]).tables;
        set.plan(before, &after).iter().map(|step| format!("{}  # {}", step.change, step.reason)).collect()
    };
    let (old, new) = (WireguardKey([0; 32]), WireguardKey([4; 32]));
    let added = format!(
        "wg set $DEV peer {new} endpoint 192.168.0.11:51820 allowed-ips 10.1.11.0/24 persistent-keepalive 25 \
         preshared-key (hidden)  # lease 10.1.11.0/24 of 192.168.0.11"
    );
    let removed = format!("wg set $DEV peer {old} remove  # no lease requires it");
    assert_eq!(steps(&set, &before), [added, removed.clone()]);
    set.remove("10.1.11.0/24".parse().unwrap());
    assert_eq!(steps(&set, &before), [removed]);
}

#[test]
fn a_peer_may_roam() {
    let backend = r#"{"Type":"wireguard"}"#;
    let set = leases();
    let tables = desired(&set, backend, &[]).tables;
    let key = WireguardKey([0; 32]);
    let mut observed = tables.clone();
    observed.peers.get_mut(&key).unwrap().endpoint = "192.0.2.7:4000".parse().unwrap();
    // The first comparison after a start sets the endpoint of the lease.
    let mut roamed = observed.clone();
    roamed.ignore_roaming(&BTreeMap::new());
    assert_eq!(set.plan(&roamed, &tables).len(), 1);
    observed.ignore_roaming(&BTreeMap::from([(key, tables.peers[&key].endpoint)]));
    assert_eq!(set.plan(&observed, &tables), []);
    // The lease has another address.
    observed.ignore_roaming(&BTreeMap::from([(key, "192.168.0.99:51820".parse().unwrap())]));
    assert_eq!(set.plan(&observed, &tables).len(), 1);
}
