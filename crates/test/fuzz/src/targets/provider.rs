//! Configuration from a cloud, a hypervisor or a disk at boot.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cloudinit::limits::{MAX_PROVIDER_KEYS, MAX_TEXT_BYTES};
use cloudinit::metadata::Metadata;
use cloudinit::provider::azure_fabric::GoalState;
use cloudinit::provider::vmware::UserData;
use cloudinit::provider::{Malformed, azure, cloud_sigma, no_cloud, virtual_box, vmware};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "provider",
    about: "a provider's file gives addresses that are some, names, keys and user-data, or a named error",
    run,
    seeds,
};

const KINDS: u8 = 8;
/// Tags of a report to Azure's fabric, with the XML declaration.
const REPORT_TAGS: usize = 19;

/// The provider, then its data.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = input.byte() % KINDS;
    let data = input.rest();
    match kind {
        0 => check_metadata(azure::shared_config(data)),
        1 => {
            check_metadata(azure::provisioning(data));
            check_user_data(azure::user_data(data));
        }
        2 => match vmware::properties(data) {
            Ok(properties) => virtual_machine(&properties),
            Err(error) => check_error(&error),
        },
        3 => virtual_machine(&lines(data)),
        4 => check_metadata(no_cloud::metadata(data)),
        5 => {
            let keys = lines(data);
            check_user_data(virtual_box::user_data(&mut |key| keys.get(key).cloned()));
            check_metadata(Ok(virtual_box::metadata(&mut |key| keys.get(key).cloned())));
        }
        7 => match GoalState::read(data) {
            // What it names must not become elements of the report.
            Ok(goal_state) => {
                let report = goal_state.ready();
                assert_eq!(report.matches("<State>Ready</State>").count(), 1, "{report}");
                assert_eq!(report.matches('<').count(), REPORT_TAGS, "{report}");
            }
            Err(error) => check_error(&error),
        },
        _ => match cloud_sigma::Context::read(data) {
            Ok(context) => {
                check_user_data(context.user_data());
                check_metadata(Ok(context.metadata(&mut |_| Some(IpAddr::from([10, 0, 0, 1])))));
            }
            Err(error) => check_error(&error),
        },
    }
}

/// `KEY=VALUE` per line.
fn lines(data: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(data);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn virtual_machine(keys: &BTreeMap<String, String>) {
    let mut queries = 0;
    check_metadata(Ok(vmware::metadata(&mut |key| {
        queries += 1;
        keys.get(key).cloned()
    })));
    assert!(queries <= MAX_PROVIDER_KEYS);
    match vmware::user_data(&mut |key| keys.get(key).cloned()) {
        Ok(UserData::Inline(user_data)) => check_user_data(Ok(user_data)),
        Ok(UserData::Url { url, .. }) => assert!(keys.contains_key("coreos.config.url"), "{url}"),
        Err(error) => check_error(&error),
    }
}

fn check_metadata(found: Result<Metadata, Malformed>) {
    let Metadata { addresses, notes, .. } = match &found {
        Ok(metadata) => metadata,
        Err(error) => return check_error(error),
    };
    for text in [&addresses.private_ipv4, &addresses.public_ipv4].into_iter().flatten() {
        assert!(text.parse::<Ipv4Addr>().is_ok(), "{text}");
    }
    for text in [&addresses.private_ipv6, &addresses.public_ipv6].into_iter().flatten() {
        assert!(text.parse::<Ipv6Addr>().is_ok(), "{text}");
    }
    assert!(notes.iter().all(|note| !note.is_empty()));
}

fn check_user_data(user_data: Result<Vec<u8>, Malformed>) {
    match user_data {
        Ok(user_data) => assert!(user_data.len() <= MAX_TEXT_BYTES),
        Err(error) => check_error(&error),
    }
}

fn check_error(error: &Malformed) {
    assert!(!error.to_string().is_empty());
}

fn seeds() -> Vec<Vec<u8>> {
    let azure_shared = "<SharedConfig><Incarnation instance='a'/><Instances><Instance id='a' address='10.0.0.4'>\
        <InputEndpoints><Endpoint loadBalancedPublicAddress='192.0.2.1:22'/></InputEndpoints></Instance></Instances>\
        </SharedConfig>";
    let azure_disk = "<e:Environment xmlns:e='e' xmlns:w='w'><w:LinuxProvisioningConfigurationSet><w:HostName>a\
        </w:HostName><w:SSH><w:PublicKeys><w:PublicKey><w:Value>k</w:Value></w:PublicKey></w:PublicKeys></w:SSH>\
        <w:CustomData>aGk=</w:CustomData></w:LinuxProvisioningConfigurationSet></e:Environment>";
    let keys = [
        ("hostname", "a"),
        ("dns.server.0", "192.0.2.53"),
        ("interface.0.role", "private"),
        ("interface.0.ip.0.address", "10.0.0.8/24"),
        ("interface.0.route.0.gateway", "10.0.0.1"),
        ("interface.1.ip.0.address", "2001:db8::1/64"),
        ("coreos.config.data", "H4sIAAAAAAAA/8vIBACsKpPYAgAAAA=="),
        ("coreos.config.data.encoding", "gz+b64"),
    ];
    let property = |(key, value)| format!("<Property o:key='guestinfo.{key}' o:value='{value}'/>\n");
    let ovf = keys.map(property).concat().replace("='a'", "=\"a\n&quot;\tb\"");
    let ovf = format!("<Environment xmlns:o='o'><PropertySection>{ovf}</PropertySection></Environment>");
    let guestinfo = keys.map(|(key, value)| format!("{key}={value}\n")).concat();
    let no_cloud = "instance-id: 7\nlocal-hostname: a.b\nnetwork-interfaces: |\n  auto eth0\npublic-keys:\n  0: \
        {openssh-key: k}\n  b: &a k\n  c: *a\n";
    let virtual_box = "/coreos-cloudinit/user-data=aGk=\n/coreos-cloudinit/user-data.encoding=b64\n\
        /coreos-cloudinit/hostname=a\n";
    let cloud_sigma = r#"{"name":"a","uuid":"u","nics":[{"ip_v4_conf":{"ip":{"uuid":"192.0.2.1"}},"mac":"m",
        "vlan":{"uuid":"v"}}],"meta":{"base64_fields":"a,cloudinit-user-data","cloudinit-user-data":"aGk=",
        "ssh_public_key":"k a"}}"#;
    let goal_state = "<GoalState><Incarnation>1</Incarnation><Container><ContainerId>c</ContainerId><RoleInstanceList>\
        <RoleInstance><InstanceId>i&lt;/&gt;</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>";
    let all = [azure_shared, azure_disk, &ovf, &guestinfo, no_cloud, virtual_box, cloud_sigma, goal_state];
    all.iter().enumerate().map(|(kind, data)| [&[kind as u8], data.as_bytes()].concat()).collect()
}
