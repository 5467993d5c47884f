//! Responses of a metadata service to a booting machine.

use std::net::{Ipv4Addr, Ipv6Addr};

use cloudinit::check::Checked;
use cloudinit::limits::{MAX_METADATA_INTERFACES, MAX_METADATA_KEYS, MAX_METADATA_NOTES};
use cloudinit::metadata::{Metadata, merge};
use cloudinit::provider::{Malformed, azure_imds, digitalocean, ec2, gce, openstack, packet};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "metadata",
    about: "a provider's answers become metadata whose addresses are addresses, or a short error, and twice the same",
    run,
    seeds,
};

const PART: &[u8] = b"\n---\n";
const MAX_ERROR_CHARS: usize = 1000;

/// Responses separated by lines of `---`: each provider gets all of them.
fn run(bytes: &[u8]) {
    let parts = split(bytes);
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let readers: [&dyn Fn() -> Result<Metadata, Malformed>; 6] = [
        &|| ec2_metadata(&part),
        &|| {
            let [instance, hostname, internal_ip, external_ip] =
                [0, 1, 2, 3].map(|index| part(index).to_vec());
            gce::metadata(&gce::Responses { instance, hostname, internal_ip, external_ip })
        },
        &|| digitalocean::metadata(part(0)),
        &|| packet::metadata(part(0)),
        &|| azure_imds::metadata(part(0)),
        &|| openstack_metadata(&part),
    ];
    for read in readers {
        let first = stringify_error(read());
        assert_eq!(first, stringify_error(read()));
        if let Ok(metadata) = first {
            check(&metadata);
        }
    }
    drop(stringify_error(azure_imds::user_data(part(0))));
}

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(PART.len()).position(|window| window == PART) {
        parts.push(&rest[..at]);
        rest = &rest[at + PART.len()..];
    }
    parts.push(rest);
    parts
}

fn ec2_metadata<'a>(part: &dyn Fn(usize) -> &'a [u8]) -> Result<Metadata, Malformed> {
    let interfaces = ec2::interfaces(part(0));
    assert!(interfaces.len() <= MAX_METADATA_INTERFACES && interfaces.iter().all(|name| is_path_part(name)));
    let names = ec2::key_names(part(1))?;
    assert!(names.len() <= MAX_METADATA_KEYS && names.iter().all(|name| is_path_part(&name.id)));
    let [instance, hostname, local_ipv4, public_ipv4, ipv6] =
        [2, 3, 4, 5, 6].map(|index| part(index).to_vec());
    let keys = names.into_iter().map(|name| (name.name, part(7).to_vec())).collect();
    Ok(ec2::metadata(&ec2::Responses { instance, hostname, local_ipv4, public_ipv4, ipv6, keys }))
}

fn openstack_metadata<'a>(part: &dyn Fn(usize) -> &'a [u8]) -> Result<Metadata, Malformed> {
    let mut meta = openstack::MetaData::read(part(0))?;
    if let Some(path) = meta.network_config() {
        let below = path.strip_prefix("openstack/").expect("it is below that folder");
        assert!(below.split('/').all(|part| is_path_part(part) && part != "." && part != ".."), "{path}");
    }
    meta.metadata(part(1), part(2))
}

/// Whether it is harmless as part of a URL or a path.
fn is_path_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte))
}

fn stringify_error<T>(result: Result<T, Malformed>) -> Result<T, String> {
    result.map_err(|error| {
        let text = error.to_string();
        assert!(!text.is_empty() && text.chars().count() <= MAX_ERROR_CHARS, "{text}");
        text
    })
}

fn check(metadata: &Metadata) {
    let addresses = &metadata.addresses;
    for address in [&addresses.public_ipv4, &addresses.private_ipv4].into_iter().flatten() {
        assert!(address.parse::<Ipv4Addr>().is_ok(), "{address}");
    }
    for address in [&addresses.public_ipv6, &addresses.private_ipv6].into_iter().flatten() {
        assert!(address.parse::<Ipv6Addr>().is_ok(), "{address}");
    }
    // Those of two documents, plus one per item.
    assert!(metadata.notes.len() <= 2 * MAX_METADATA_NOTES + MAX_METADATA_KEYS + 4);
    let merged = merge(Checked::default(), metadata, None);
    let is_name = |name: &str| {
        name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    assert!(merged.hostname.as_deref().is_none_or(is_name), "{:?}", merged.hostname);
}

fn seeds() -> Vec<Vec<u8>> {
    let ec2: [&[u8]; 8] = [
        b"02:29:96:8f:6a:2d/\n02:29:96:8f:6a:2e/",
        b"0=my-key\n1=other",
        b"i-10a64379",
        b"ip-10-0-0-7.ec2.internal",
        b"10.0.0.7",
        b"54.1.2.3",
        b"2600:1f18::1",
        b"ssh-rsa A my-key\n",
    ];
    let gce: [&[u8]; 4] = [b"4412879873829", b"node-1.c.my-project.internal", b"10.128.0.2", b"35.1.2.3"];
    let droplet: &[u8] = br#"{"droplet_id": 7, "hostname": "d", "public_keys": ["ssh-rsa A"], "interfaces": {
        "private": [{"ipv4": {"ip_address": "10.132.255.113"}}],
        "public": [{"ipv4": {"ip_address": "104.131.20.105"}, "ipv6": {"ip_address": "2604:A880::1"}}]}}"#;
    let packet: &[u8] =
        br#"{"id": "4c5a", "hostname": "p", "ssh_keys": ["ssh-rsa A"], "network": {"addresses": [
        {"address_family": 4, "public": true, "address": "147.75.1.1"},
        {"address_family": 6, "public": true, "address": "2604:1380::3"},
        {"address_family": 4, "public": false, "address": "10.99.0.1"}]}}"#;
    let azure: &[u8] = br#"{"compute": {"customData": "I2Nsb3VkLWNvbmZpZwo=", "name": "vm", "vmId": "02aa",
        "osProfile": {"computerName": "node-1"}, "publicKeys": [{"keyData": "ssh-rsa A"}], "userData": ""},
        "network": {"interface": [{"ipv4": {"ipAddress": [{"privateIpAddress": "10.0.0.4", "publicIpAddress": ""}]},
        "ipv6": {"ipAddress": [{"privateIpAddress": "fd00::4"}]}}]}}"#;
    let openstack: [&[u8]; 3] = [
        br#"{"uuid": "i-1", "hostname": "o", "public_keys": {"mine": "ssh-rsa A"},
            "network_config": {"content_path": "/content/0000"}}"#,
        br#"{"networks": [{"type": "ipv4_dhcp"}, {"type": "ipv4", "ip_address": "10.0.0.7/24"}]}"#,
        b"auto eth0\niface eth0 inet dhcp\n",
    ];
    vec![
        ec2.join(PART),
        gce.join(PART),
        droplet.to_vec(),
        packet.to_vec(),
        azure.to_vec(),
        openstack.join(PART),
    ]
}
