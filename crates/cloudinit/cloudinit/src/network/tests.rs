use super::*;
use crate::cpu_time::within_time_limit;
use crate::limits::MAX_INTERFACES;

fn source(name: &str, text: &str) -> (Format, NetworkSource) {
    match name {
        "debian" => (Format::Debian, NetworkSource::Debian(text.to_owned())),
        "openstack" => (Format::Debian, NetworkSource::OpenStack(serde_json::from_str(text).unwrap())),
        "packet" => (Format::Packet, NetworkSource::Packet(serde_json::from_str(text).unwrap())),
        "vmware" => {
            let keys = text.lines().filter_map(|line| line.split_once('='));
            let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            (Format::Vmware, NetworkSource::Vmware(keys))
        }
        "cloud-init" => (Format::CloudInit, NetworkSource::CloudInit(text.to_owned())),
        other => panic!("{other}"),
    }
}

fn converted(name: &str, text: &str) -> Result<Network, String> {
    let (format, source) = source(name, text);
    convert(format, &source).map_err(|error| error.to_string())
}

/// Formats all files with their paths, followed by modules and notes.
fn show(network: &Network) -> String {
    let mut text = String::new();
    for file in network.files() {
        text.push_str(&format!("=== {}\n{}", file.path, file.content));
    }
    for module in network.modules() {
        text.push_str(&format!("=== modprobe {}\n", module.join(" ")));
    }
    for note in &network.notes {
        text.push_str(&format!("=== {note}\n"));
    }
    text
}

fn golden(name: &str, text: &str, expect: &str) {
    let got = show(&converted(name, text).unwrap());
    assert!(got == expect, "--- got\n{got}--- expected\n{expect}");
}

#[test]
fn a_bond_under_a_vlan() {
    golden(
        "debian",
        include_str!("../../tests/data/network/bond-under-vlan.interfaces"),
        include_str!("../../tests/data/network/bond-under-vlan.files"),
    );
}

#[test]
fn packet_bond() {
    golden(
        "packet",
        include_str!("../../tests/data/network/packet.json"),
        include_str!("../../tests/data/network/packet.files"),
    );
}

#[test]
fn openstack_links() {
    golden(
        "openstack",
        include_str!("../../tests/data/network/openstack.json"),
        include_str!("../../tests/data/network/openstack.files"),
    );
}

#[test]
fn vmware_keys() {
    golden(
        "vmware",
        include_str!("../../tests/data/network/vmware.keys"),
        include_str!("../../tests/data/network/vmware.files"),
    );
}

/// Expects an error message, or the names of the files.
fn check(name: &str, text: &str, expect: Result<&[&str], &str>) {
    let names = converted(name, text)
        .map(|network| network.files().into_iter().map(|file| file.name).collect::<Vec<_>>());
    let expect = expect.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(names, expect.map_err(str::to_owned), "{text}");
}

#[test]
fn debian_grammar() {
    let refused = |text: &str, message: &str| check("debian", text, Err(message));
    let files = |text: &str, names: &[&str]| check("debian", text, Ok(names));
    files("", &[]);
    files("# only a comment\n\n  \t\n", &[]);
    files("auto lo\niface lo inet loopback\n", &[]);
    files("auto eth0\n", &[]);
    files("iface eth0 inet manual", &["00-eth0.network"]);
    files("  iface\teth0  inet \\\n manual\r\n", &["00-eth0.network"]);
    files("auto eth0\nstray option\niface eth0 inet dhcp\n", &["00-eth0.network"]);
    refused("address 1.2.3.4\n", "missing stanza start \"address 1.2.3.4\"");
    refused("mapping eth0\n", "unknown stanza \"mapping\"");
    refused("allow-hotplug eth0\n", "unknown stanza \"allow-hotplug\"");
    refused("auto\n", "malformed stanza start \"auto\"");
    refused("iface eth0 inet\n", "incorrect number of attributes");
    refused("iface eth0 inet dhcp now\n", "incorrect number of attributes");
    refused("iface eth0 inet bootp\n", "invalid config method \"bootp\"");
    let malformed = "malformed static network config for \"eth0\"";
    let iface = "iface eth0 inet static\n";
    for options in [
        "",
        "address 10.0.0.1",
        "netmask 255.0.0.0",
        "address 10.0.0.1\nnetmask 8",
        "address 10.0.0.1 10.0.0.2\nnetmask 255.0.0.0",
        "address ::1\nnetmask 255.0.0.0",
        "address 10.0.0.1\nnetmask 255.0.255.0",
        "address 10.0.0.1\nnetmask 255.0.0.0\ngateway x",
        "address 10.0.0.1\nnetmask 255.0.0.0\ndns-nameservers x",
    ] {
        refused(&format!("{iface}{options}\n"), malformed);
    }
    files(&format!("{iface}address 10.0.0.1\nnetmask 255.0.0.0\n"), &["00-eth0.network"]);
    refused("iface eth0 inet dhcp\nhwaddress ether 1\n", "malformed hwaddress option for \"eth0\"");
    files("iface eth0 inet dhcp\nhwaddress random\n", &["00-eth0.network"]);
    let vlan = &["00-eth0.100.netdev", "00-eth0.100.network", "01-eth0.network"];
    files("iface eth0.100 inet manual\n", vlan);
    files(
        "iface vlan7 inet manual\nvlan_raw_device e\n",
        &["00-vlan7.netdev", "00-vlan7.network", "01-e.network"],
    );
    for name in ["eth0.x", "eth0.", "eth0.+1", "eth0.4095"] {
        refused(&format!("iface {name} inet manual\n"), &format!("malformed vlan name {name:?}"));
    }
    refused("iface e1 inet manual\nvlan_raw_device e\n", "malformed vlan name \"e1\"");
    let bond = &["00-bond0.netdev", "00-bond0.network", "01-a.network", "01-b.network"];
    files("iface bond0 inet dhcp\nbond-slaves a b\n", bond);
    files(
        "iface b inet manual\nbond-master bond0\niface bond0 inet dhcp\nbond-slaves none\niface a inet manual\n\
           bond-master bond0\n",
        bond,
    );
    refused("iface b inet manual\nbond-slaves b\n", "interface \"b\" stands on itself");
    refused(
        "iface a.1 inet manual\nvlan_raw_device b.1\niface b.1 inet manual\nvlan_raw_device a.1\n",
        "interface \"a.1\" stands on itself",
    );
}

#[test]
fn invalid_interface_names() {
    for name in ["../x", "a/b", "*", "eth?", "a\u{1}", "-a", ".a", "sixteencharacter", "ä", "%i"] {
        let message = format!("invalid interface name {name:?}");
        check("debian", &format!("iface {name} inet dhcp\n"), Err(&message));
        check("debian", &format!("iface bond0 inet dhcp\nbond-slaves {name}\n"), Err(&message));
        check("debian", &format!("iface eth0 inet manual\nbond-master {name}\n"), Err(&message));
        let json = serde_json::json!({"network": {"interfaces": [{"name": name}]}}).to_string();
        check("packet", &json, Err(&message));
        check("vmware", &format!("interface.0.name={name}\ninterface.0.dhcp=yes"), Err(&message));
    }
}

#[test]
fn other_formats_refuse_invalid_input() {
    check("packet", "{}", Err("packet's metadata names no network interface"));
    check(
        "packet",
        r#"{"network": {"interfaces": []}}"#,
        Err("packet's metadata names no network interface"),
    );
    let packet = |more: &str| format!(r#"{{"network": {{"interfaces": [{{"name": "a"}}], {more}}}}}"#);
    check("packet", &packet(r#""dns": ["x"]"#), Err("invalid IP address \"x\""));
    check(
        "packet",
        &packet(r#""addresses": [{"address": "1.2.3.4", "netmask": "x"}]"#),
        Err("invalid address \"1.2.3.4\" with netmask \"x\""),
    );
    for (keys, message) in [
        ("interface.0.dhcp=maybe", "invalid DHCP option: \"maybe\""),
        ("interface.0.route.0.gateway=1.2.3.4", "missing destination key"),
        ("interface.0.route.0.destination=1.2.3.4/8", "missing gateway key"),
        ("interface.0.ip.0.address=1.2.3.4", "invalid CIDR address: 1.2.3.4"),
        ("interface.0.name=a\ninterface.0.mac=x\ninterface.0.dhcp=yes", "invalid MAC address \"x\""),
        ("interface.0.dhcp=yes", "invalid interface name \"\""),
        ("dns.server.0=x", "invalid IP address \"x\""),
        ("dns.domain.0=a b", "invalid domain \"a b\""),
        ("dns.domain.0=a\0b", "invalid domain \"a\\0b\""),
    ] {
        check("vmware", keys, Err(message));
    }
    check("vmware", "interface.1.dhcp=yes", Ok(&[]));
    check("openstack", r#"{"links": [], "networks": []}"#, Ok(&[]));
    check("openstack", r#"{"links": [{}]}"#, Err("a link has no id"));
    let openstack = |more: &str| format!(r#"{{"links": [{{"id": "eth0", "type": "phy"}}], {more}}}"#);
    check("openstack", &openstack(r#""networks": []"#), Ok(&["00-eth0.network"]));
    for (more, message) in [
        (r#""networks": [{"link": "x"}]"#, "a network is on \"x\", which no link is called"),
        (r#""networks": [{"link": "eth0", "type": "ipx"}]"#, "unknown type of network \"ipx\""),
        (r#""networks": [{"link": "eth0", "type": "ipv4"}]"#, "invalid address \"\" with its netmask"),
    ] {
        check("openstack", &openstack(more), Err(message));
    }
    let packet = NetworkSource::Packet(serde_json::Value::Null);
    assert_eq!(
        convert(Format::Debian, &packet).unwrap_err().to_string(),
        "the datasource's network config is not of format \"debian\""
    );
}

#[test]
fn sizes() {
    let many: String = (0..=MAX_INTERFACES).map(|number| format!("iface e{number} inet dhcp\n")).collect();
    within_time_limit(|| check("debian", &many, Err("more than 256 interfaces")));
    let slaves: String = (0..100_000).map(|number| format!(" s{number}")).collect();
    within_time_limit(|| {
        check("debian", &format!("iface b inet dhcp\nbond-slaves{slaves}\n"), Err("more than 256 interfaces"))
    });
    let routes = "post-up route add -net 10.0.0.0/8 gw 1.2.3.4\n".repeat(100_000);
    let text = format!("iface e inet static\naddress 1.2.3.4\nnetmask 255.0.0.0\n{routes}");
    within_time_limit(|| check("debian", &text, Err("more than 10000 addresses, routes and servers")));
}

/// Mutates the examples: no panic, no file outside of the directory, no injected lines.
#[test]
fn mangled_input_never_panics() {
    let seeds = [
        ("debian", include_str!("../../tests/data/network/bond-under-vlan.interfaces")),
        ("packet", include_str!("../../tests/data/network/packet.json")),
        ("openstack", include_str!("../../tests/data/network/openstack.json")),
        ("vmware", include_str!("../../tests/data/network/vmware.keys")),
    ];
    let interesting = [
        "\n",
        " ",
        "\\",
        "/",
        ".",
        "..",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "-1",
        "99999999999",
        "null",
        "\0",
        "=",
        "%",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut good = 0;
    for round in 0..20_000 {
        let (name, seed) = seeds[round % seeds.len()];
        let mut text = seed.to_owned();
        for _ in 0..=random.below(3) {
            let at = random.below(text.len());
            let end = (at + random.below(30)).min(text.len());
            match random.below(3) {
                0 => text.replace_range(at..end, ""),
                1 => {
                    let piece = text[at..end].to_owned();
                    text.insert_str(at, &piece);
                }
                _ => text.insert_str(at, interesting[random.below(interesting.len())]),
            }
        }
        if name != "debian" && name != "vmware" && serde_json::from_str::<serde_json::Value>(&text).is_err() {
            continue;
        }
        let Ok(network) = converted(name, &text) else { continue };
        good += 1;
        for file in network.files() {
            assert!(!file.name.contains(['/', '\0', '\n']), "{text}");
            for line in file.content.lines().filter(|line| !line.is_empty()) {
                let section = line.starts_with('[') && line.ends_with(']');
                let key = line.split_once('=').map(|(key, _)| key).unwrap_or_default();
                let known = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
                assert!(section || known, "{line:?} of {text}");
            }
        }
    }
    assert!(good > 2000, "only {good} were converted");
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
