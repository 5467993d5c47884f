//! Network descriptions of clouds, for `-convert-netconf`.

use std::collections::BTreeSet;

use cloudinit::limits::MAX_INTERFACES;
use cloudinit::metadata::NetworkSource;
use cloudinit::network::{Format, Network, NetworkFile, convert};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "network",
    about: "a description of a network becomes files in which it can say no more than what it is asked for",
    run,
    seeds,
};

const SUFFIXES: [&str; 3] = ["netdev", "network", "link"];

/// The format, then the description.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte() % 5;
    let description = String::from_utf8_lossy(input.rest()).into_owned();
    let Some((format, source)) = source(kind, description) else { return };
    let converted = convert(format, &source);
    assert_eq!(converted, convert(format, &source));
    match converted {
        Ok(network) => check(&network),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn source(kind: u8, description: String) -> Option<(Format, NetworkSource)> {
    Some(match kind {
        0 => (Format::Debian, NetworkSource::Debian(description)),
        1 => (Format::Debian, NetworkSource::OpenStack(serde_json::from_str(&description).ok()?)),
        2 => (Format::Packet, NetworkSource::Packet(serde_json::from_str(&description).ok()?)),
        4 => (Format::CloudInit, NetworkSource::CloudInit(description)),
        _ => {
            let pairs = description.lines().filter_map(|line| line.split_once('='));
            let keys = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            (Format::Vmware, NetworkSource::Vmware(keys))
        }
    })
}

fn check(network: &Network) {
    assert!(network.interfaces.len() <= MAX_INTERFACES);
    assert!(network.notes.iter().all(|note| !note.is_empty()));
    let mut names = BTreeSet::new();
    for NetworkFile { path, name, content } in network.files() {
        assert_eq!(path, format!("/run/systemd/network/{name}"));
        let called = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(&format!(".{suffix}")));
        let called = called.and_then(|called| called.split_once('-')).map(|(_, called)| called).unwrap();
        assert!(
            !called.is_empty() && !called.starts_with(['.', '-']) && !called.contains(['/', '\0']),
            "{name}"
        );
        // A value must never inject another line.
        for line in content.lines() {
            let is_section = line.starts_with('[') && line.ends_with(']');
            let is_setting = line.split_once('=').is_some_and(|(key, _)| {
                !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
            });
            let is_expected = line.is_empty() || is_section || is_setting;
            assert!(is_expected && !line.contains(char::is_control), "{name}: {line:?}");
        }
        assert!(names.insert(name.clone()), "{name} twice");
    }
    for arguments in network.modules() {
        assert!(matches!(&*arguments[0], "8021q" | "bonding"), "{arguments:?}");
        let plain = |argument: &String| !argument.contains(|c: char| c.is_control() || c.is_whitespace());
        assert!(arguments.iter().all(plain), "{arguments:?}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let more = "iface eth0 inet static\naddress 192.0.2.7\nnetmask 255.255.255.0\ngateway 192.0.2.1\n\
        post-up route add -net 198.51.100.0/24 gw 192.0.2.9\niface bond1 inet dhcp\nbond-slaves none\n\
        bond-xmit-hash-policy layer3+4\nmapping x\n";
    let description: [(u8, &str); 7] = [
        (0, include_str!("../../../../cloudinit/cloudinit/tests/data/network/bond-under-vlan.interfaces")),
        (0, more),
        (1, include_str!("../../../../cloudinit/cloudinit/tests/data/network/openstack.json")),
        (2, include_str!("../../../../cloudinit/cloudinit/tests/data/network/packet.json")),
        (3, include_str!("../../../../cloudinit/cloudinit/tests/data/network/vmware.keys")),
        (4, include_str!("../../../../cloudinit/cloudinit/tests/data/network/cloud-init-1.yaml")),
        (4, include_str!("../../../../cloudinit/cloudinit/tests/data/network/cloud-init-2.yaml")),
    ];
    description.iter().map(|(kind, description)| [&[*kind], description.as_bytes()].concat()).collect()
}
