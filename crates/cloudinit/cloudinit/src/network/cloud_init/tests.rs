use crate::cpu_time::within_time_limit;
use crate::limits::MAX_INTERFACES;
use crate::metadata::NetworkSource;
use crate::network::{Format, Network, convert};

fn converted(text: &str) -> Result<Network, String> {
    convert(Format::CloudInit, &NetworkSource::CloudInit(text.to_owned())).map_err(|error| error.to_string())
}

/// The files, followed by modules and notes.
fn show(network: &Network) -> String {
    let files = network.files().into_iter().map(|file| format!("=== {}\n{}", file.name, file.content));
    let modules = network.modules().into_iter().map(|module| format!("=== modprobe {}\n", module.join(" ")));
    let notes = network.notes.iter().map(|note| format!("=== {note}\n"));
    files.chain(modules).chain(notes).collect()
}

fn golden(text: &str, expect: &str) {
    let got = show(&converted(text).unwrap());
    assert!(got == expect, "--- got\n{got}--- expected\n{expect}");
}

#[test]
fn version_2() {
    golden(
        include_str!("../../../tests/data/network/cloud-init-2.yaml"),
        include_str!("../../../tests/data/network/cloud-init-2.files"),
    );
}

#[test]
fn version_1() {
    golden(
        include_str!("../../../tests/data/network/cloud-init-1.yaml"),
        include_str!("../../../tests/data/network/cloud-init-1.files"),
    );
}

#[test]
fn documents_without_interfaces() {
    for text in ["", "# nothing\n", "~", "version: 1\nconfig: disabled\n", "network: {version: 2}\n"] {
        assert_eq!(converted(text), Ok(Network::default()), "{text:?}");
    }
}

#[test]
fn a_value_that_cannot_be_is_an_error_with_its_line() {
    for (text, expect) in [
        ("a: [\n", "network-config is not YAML (line 1)"),
        ("[]", "network-config, line 1: this is no mapping"),
        ("version: 3\n", "network-config, line 1: version is neither 1 nor 2"),
        ("ethernets: {}\n", "network-config, line 1: version is neither 1 nor 2"),
        (
            "version: 2\nethernets:\n  eth0:\n    dhcp4: maybe\n",
            "network-config, line 4: this is no boolean (true or false)",
        ),
        ("version: 2\nethernets: {'a b': {}}\n", "invalid interface name \"a b\""),
        (
            "version: 2\nethernets: {a: {match: {name: 'x y'}}}\n",
            "invalid pattern of interface names \"x y\"",
        ),
        (
            "version: 2\nethernets: {a: {match: {}}}\n",
            "network-config, line 2: match has neither name nor macaddress",
        ),
        (
            "version: 2\nethernets: {a: {routes: [{to: default}]}}\n",
            "network-config, line 2: a route needs to and via",
        ),
        (
            "version: 2\nethernets: {a: {routes: [{to: '::/0', via: 10.0.0.1}]}}\n",
            "network-config, line 2: this is no network of the gateway's family",
        ),
        (
            "version: 2\nethernets: {a: {nameservers: {search: ['a\tb']}}}\n",
            "network-config, line 2: this is no list of domains",
        ),
        (
            "version: 2\nvlans: {a: {id: 4095, link: b}}\n",
            "network-config, line 2: VLAN \"a\" needs a number up to 4094 and a link",
        ),
        (
            "version: 2\nethernets: {a: {}}\nbonds: {a: {}}\n",
            "network-config, line 3: two interfaces are \"a\"",
        ),
        (
            "version: 2\nvlans: {a: {id: 1, link: b}, b: {id: 2, link: a}}\n",
            "interface \"a\" stands on itself",
        ),
        ("version: 1\nconfig:\n- {name: a}\n", "network-config, line 3: type is missing"),
        ("version: 1\nconfig: [{type: physical}]\n", "network-config, line 2: name is missing"),
        (
            "version: 1\nconfig: [{type: physical, name: a, subnets: [{type: static, address: 10.0.0.1}]}]\n",
            "network-config, line 2: this is no address with a prefix length or netmask",
        ),
    ] {
        assert_eq!(converted(text), Err(expect.to_owned()), "{text:?}");
    }
}

#[test]
fn the_number_of_interfaces_is_limited() {
    let ethernets: String = (0..=MAX_INTERFACES).map(|number| format!("  e{number}: {{}}\n")).collect();
    let text = format!("version: 2\nethernets:\n{ethernets}");
    within_time_limit(|| assert_eq!(converted(&text), Err(format!("more than {MAX_INTERFACES} interfaces"))));
}
