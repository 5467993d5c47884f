//! Datasources read from files and devices.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Machine, RunOutput};

const ADDRESSES: &str =
    "#cloud-config\nwrite_files:\n- path: /addresses\n  content: $private_ipv4 $public_ipv4\n";
/// The same in base64.
const IN_BASE64: &str = "I2Nsb3VkLWNvbmZpZwp3cml0ZV9maWxlczoKLSBwYXRoOiAvYWRkcmVzc2VzCiAgY29udGVudDogJHByaXZhdGVfaXB2\
                         NCAkcHVibGljX2lwdjQK";
const SHARED_CONFIG: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<SharedConfig version="1.0.0.0" goalStateIncarnation="1">
  <Incarnation number="1" instance="core" guid="{8767eb4b-b445-4783-b1f5-6c0beaf41ea0}" />
  <Instances>
    <Instance id="core" address="10.0.0.4">
      <InputEndpoints>
        <Endpoint name="ssh" address="10.0.0.4:22" isPublic="true" loadBalancedPublicAddress="191.239.39.77:22" />
      </InputEndpoints>
    </Instance>
  </Instances>
</SharedConfig>"#;

/// Runs `-plan` and checks exit status and output.
fn plan(machine: &Machine, from: &str, code: i32, expected: &[&str]) -> RunOutput {
    let output = machine.start(&["-plan", from], &[], b"");
    output.expect(code, expected);
    assert!(!machine.has("/etc/hostname"), "a plan changes nothing");
    output
}

/// Applies the user-data and returns the written file.
fn applied(machine: &Machine, from: &str) -> String {
    machine.start(&[from], &[], b"").expect(0, &[]);
    machine.read("/addresses")
}

#[test]
fn azures_agent() {
    let machine = Machine::new();
    machine.put("/waagent/SharedConfig.xml", SHARED_CONFIG);
    machine.put("/waagent/CustomData", ADDRESSES);
    machine.put(
        "/waagent/ovf-env.xml",
        "<Environment xmlns='a' xmlns:wa='b'><wa:ProvisioningSection><wa:LinuxProvisioningConfigurationSet>\
         <wa:HostName>core.internal</wa:HostName><wa:UserPassword>hush</wa:UserPassword><wa:SSH><wa:PublicKeys>\
         <wa:PublicKey><wa:Value>ssh-ed25519 AAAA a</wa:Value></wa:PublicKey></wa:PublicKeys></wa:SSH>\
         </wa:LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>",
    );
    let from = format!("-from-waagent={}", machine.path("/waagent").display());
    let late = machine.path("/waagent/provisioned");
    let agent = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        std::fs::write(late, "").unwrap();
    });
    plan(
        &machine,
        &from,
        0,
        &[
            "Checking availability of \"waagent\"",
            "Fetching user-data from datasource of type \"waagent\"",
            r#"{"op":"hostname","name":"core","#,
            r#""keys":["ssh-ed25519 AAAA a"]"#,
            r#""path":"/addresses""#,
        ],
    )
    .never_contains("hush");
    agent.join().unwrap();
    assert_eq!(applied(&machine, &from), "10.0.0.4 191.239.39.77");

    // An interactive run does not wait for the agent.
    let unready = format!("-from-waagent={}", machine.path("/etc").display());
    let expected = ["No datasource is available: ", "/etc is not provisioned"];
    machine.start(&["-validate", &unready], &[], b"").expect(1, &expected);
    machine.put("/waagent/SharedConfig.xml", "<SharedConfig><hush></SharedConfig>");
    machine
        .start(&["-plan", &from], &[], b"")
        .expect(1, &["SharedConfig.xml is not valid: it is not well-formed XML (line 1, column "])
        .never_contains("hush");
}

#[test]
fn azures_provisioning_disk() {
    let machine = Machine::new();
    let from = format!("-from-azure-ovf-env={}", machine.path("/disk/ovf-env.xml").display());
    machine.start(&["-validate", &from], &[], b"").expect(1, &["/disk/ovf-env.xml is not there"]);
    let disk = |data: &str| {
        format!(
            "<Environment xmlns='a' xmlns:wa='b'><wa:ProvisioningSection><wa:LinuxProvisioningConfigurationSet>\
             <wa:HostName>core</wa:HostName><wa:UserPassword>hush</wa:UserPassword><wa:CustomData>{data}\
             </wa:CustomData></wa:LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>"
        )
    };
    machine.put("/disk/ovf-env.xml", &disk(IN_BASE64));
    let expected =
        ["of type \"azure-ovf-env\"", r#"{"op":"hostname","name":"core","#, r#""path":"/addresses""#];
    plan(&machine, &from, 0, &expected).never_contains("hush").never_contains("was base64 encoded");
    machine.put("/disk/ovf-env.xml", &disk("hush!"));
    let expected = ["ovf-env.xml is not valid: its user-data cannot be decoded", r#""name":"core""#];
    machine.start(&["-plan", &from], &[], b"").expect(1, &expected).never_contains("hush");
}

#[test]
fn vmwares_ovf_environment() {
    let machine = Machine::new();
    let properties = |data: &str| {
        format!(
            "<Environment xmlns='http://schemas.dmtf.org/ovf/environment/1' \
             xmlns:oe='http://schemas.dmtf.org/ovf/environment/1'><PropertySection>\
             <Property oe:key='guestinfo.hostname' oe:value='core-01'/>\
             <Property oe:key='guestinfo.interface.0.role' oe:value='private'/>\
             <Property oe:key='guestinfo.interface.0.ip.0.address' oe:value='10.0.0.8/24'/>\
             <Property oe:key='guestinfo.interface.1.role' oe:value='public'/>\
             <Property oe:key='guestinfo.interface.1.ip.0.address' oe:value='192.0.2.8/24'/>\
             <Property oe:key='guestinfo.interface.2.role' oe:value='x'/>\
             <Property oe:key='guestinfo.coreos.config.data' oe:value='{data}'/>\
             <Property oe:key='guestinfo.coreos.config.data.encoding' oe:value='base64'/>\
             </PropertySection></Environment>"
        )
    };
    let from = format!("-from-vmware-ovf-env={}", machine.path("/media/ovf-env.xml").display());
    // It cannot appear later.
    machine.start(&["-plan", &from], &[], b"").expect(1, &["No datasources available in time"]);
    machine.put("/media/ovf-env.xml", &properties(IN_BASE64));
    let expected =
        ["of type \"vmware\"", r#"{"op":"hostname","name":"core-01","#, "Warning: unrecognized role: \"x\""];
    plan(&machine, &from, 0, &expected);
    assert_eq!(applied(&machine, &from), "10.0.0.8 192.0.2.8");
    machine.put("/media/ovf-env.xml", &properties("hush!"));
    let expected = [
        "Failed fetching user-data from datasource: coreos.config.data is not valid: its user-data cannot be",
    ];
    let output = machine.start(&["-plan", &from], &[], b"");
    output.expect(1, &expected).expect(1, &[r#"{"op":"hostname","name":"core-01","#]).never_contains("hush");
}

#[test]
fn a_seed_of_nocloud() {
    let machine = Machine::new();
    let from = format!("-from-nocloud={}", machine.path("/seed").display());
    machine.start(&["-validate", &from], &[], b"").expect(1, &["/seed has neither user-data nor meta-data"]);
    let meta_data =
        "instance-id: i-1\nlocal-hostname: core-01.example.org\npublic-keys:\n  mine: ssh-ed25519 AAAA a\n";
    machine.put("/seed/meta-data", meta_data);
    let expected =
        ["of type \"nocloud\"", r#"{"op":"hostname","name":"core-01","#, r#""keys":["ssh-ed25519 AAAA a"]"#];
    plan(&machine, &from, 0, &expected);
    machine.put("/seed/user-data", "#cloud-config\nhostname: own\n");
    plan(&machine, &from, 0, &[r#"{"op":"hostname","name":"own","#]).never_contains("network-config");
    let network = "version: 2\nethernets:\n  eth0: {addresses: [192.0.2.7/24], wakeonlan: true}\n";
    machine.put("/seed/network-config", network);
    plan(
        &machine,
        &from,
        0,
        &["ignoring network-config, which is converted with -convert-netconf=cloud-init"],
    )
    .never_contains("eth0");
    let converted = |code, expected: &[&str]| {
        machine.start(&["-plan", &from, "-convert-netconf=cloud-init"], &[], b"").expect(code, expected);
    };
    let note = "Warning: network-config, line 3: wakeonlan is not supported and ignored";
    converted(0, &[r#""path":"/run/systemd/network/00-eth0.network""#, note]);
    // A network that is configured in part may leave the machine unreachable.
    machine.put("/seed/network-config", &network.replace("192.0.2.7/24", "192.0.2.7"));
    let error =
        "Failed to generate interfaces: network-config, line 3: this is no address with a prefix length";
    converted(1, &[error]);
    machine.put("/seed/network-config", network);
    // `-once` applies again to another instance.
    for (instance, expected) in
        [("i-1", "Set hostname to own"), ("i-1", "-once, and"), ("i-2", "steps were done already")]
    {
        machine.put("/seed/meta-data", &format!("instance-id: {instance}\n"));
        machine.start(&[&from, "-once"], &[], b"").expect(0, &[expected]);
    }
    machine.put("/seed/meta-data", "hush: [\n");
    let expected = ["Failed fetching meta-data", "meta-data is not valid: it is not YAML (line 1, column 1)"];
    machine.start(&["-plan", &from], &[], b"").expect(1, &expected).never_contains("hush");
}

#[test]
fn a_credential() {
    let machine = Machine::new();
    let from = "-from-credential=coreos-cloudinit.user-data";
    machine
        .start(&["-validate", from], &[], b"")
        .expect(1, &["credential coreos-cloudinit.user-data does not exist"]);
    machine.start(&["-plan", from], &[], b"").expect(1, &["No datasources available in time"]);
    machine.put("/run/credentials/@system/coreos-cloudinit.user-data", "#cloud-config\nhostname: system\n");
    let expected = ["of type \"credential\"", r#"{"op":"hostname","name":"system","#];
    plan(&machine, from, 0, &expected);
    machine.put("/own/coreos-cloudinit.user-data", "#cloud-config\nhostname: own\n");
    let own = machine.path("/own");
    for (folder, name) in [(own.to_str().unwrap(), "own"), ("/no/folder", "system")] {
        let expect = format!(r#"{{"op":"hostname","name":"{name}","#);
        machine.start(&["-plan", from], &[("CREDENTIALS_DIRECTORY", folder)], b"").expect(0, &[&expect]);
    }
}

#[test]
fn virtualboxs_guest_properties() {
    let machine = Machine::new();
    let from = "-from-virtualbox";
    machine.start(&["-plan", from], &[], b"").expect(1, &["No datasources available in time"]);
    machine.put("/sys/bus/pci/devices/0000:00:04.0/vendor", "0x80ee\n");
    machine.put("/sys/bus/pci/devices/0000:00:04.0/device", "0xcafe\n");
    let expected = ["this is no machine of VirtualBox, or its device is missing"];
    machine.start(&["-validate", from], &[], b"").expect(1, &expected);
    machine.put("/dev/vboxguest", "");
    let expected = ["cannot read", "/dev/vboxguest: Inappropriate ioctl for device"];
    machine.start(&["-plan", from], &[], b"").expect(1, &expected);
}

#[test]
fn cloudsigmas_server_context() {
    let machine = Machine::new();
    let from = "-from-cloudsigma-metadata";
    machine.start(&["-plan", from], &[], b"").expect(1, &["No datasources available in time"]);
    machine.put("/sys/class/dmi/id/product_name", "CloudSigma\n");
    let expected = ["this is no server of CloudSigma with a lease"];
    machine.start(&["-validate", from], &[], b"").expect(1, &expected);
    machine.put("/sys/class/net/eth1/address", "22:ae:4a:fb:8f:31\n");
    machine.put("/sys/class/net/eth1/ifindex", "3\n");
    machine.put(
        "/run/systemd/netif/leases/3",
        "# This is private data. Do not parse.\nADDRESS=10.0.0.7\nNETMASK=255.0.0.0\n",
    );

    let pair = nix::pty::openpty(None, None).unwrap();
    std::fs::create_dir(machine.path("/dev")).unwrap();
    let port = nix::unistd::ttyname(&pair.slave).unwrap();
    std::os::unix::fs::symlink(port, machine.path("/dev/ttyS1")).unwrap();
    let context = format!(
        r#"{{"name": "core-01", "uuid": "u-1", "vnc_password": "hush", "nics": [
            {{"ip_v4_conf": {{"ip": {{"uuid": "31.171.251.74"}}}}, "mac": "22:3d:09:6b:90:f3", "vlan": null}},
            {{"ip_v4_conf": null, "mac": "22:AE:4a:fb:8f:31", "vlan": {{"uuid": "v-1"}}}}],
            "meta": {{"base64_fields": "x,cloudinit-user-data", "cloudinit-user-data": "{IN_BASE64}",
            "ssh_public_key": "ssh-ed25519 AAAA a"}}}}"#
    );
    let mut host = std::fs::File::from(pair.master);
    host.write_all(b"{\"name\": \"left from before\"}\x04").unwrap();
    let request = Arc::new(AtomicU32::new(0));
    let count = request.clone();
    // Left running, as the hypervisor is.
    thread::spawn(move || {
        let mut request = Vec::new();
        loop {
            let mut byte = [0];
            host.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
            if request.ends_with(b"<\n\n>") {
                count.fetch_add(1, Ordering::Relaxed);
                host.write_all(&[context.as_bytes(), &[4]].concat()).unwrap();
            }
        }
    });
    let expected = [
        "of type \"server-context\"",
        r#"{"op":"hostname","name":"core-01","#,
        r#""keys":["ssh-ed25519 AAAA a"]"#,
    ];
    plan(&machine, from, 0, &expected).never_contains("hush").never_contains("was base64 encoded");
    assert_eq!(applied(&machine, from), "10.0.0.7 31.171.251.74");
    assert_eq!(request.load(Ordering::Relaxed), 2, "once a run");
}
