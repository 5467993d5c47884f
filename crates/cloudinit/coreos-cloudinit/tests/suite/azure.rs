//! Azure: the metadata service with the provisioning disk, and the report to the fabric.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::server::{Response, Server};
use crate::support::{Machine, RunOutput};

const SPEEDUP: [(&str, &str); 2] =
    [("COREOS_CLOUDINIT_TEST_HASTE", "100"), ("COREOS_CLOUDINIT_TEST_REQUEST_HASTE", "1")];
/// `#cloud-config`, and a file with the private address.
const CUSTOM_DATA: &str =
    "I2Nsb3VkLWNvbmZpZwp3cml0ZV9maWxlczogW3twYXRoOiAvY3VzdG9tLCBjb250ZW50OiAkcHJpdmF0ZV9pcHY0fV0K";
const PASSWORD: &str = "hush-hush";
const SAVED: &str = "/var/lib/coreos-cloudinit/azure-custom-data";

fn service(id: &str) -> Server {
    let document = format!(
        r#"{{"compute": {{"vmId": "{id}", "userData": "IyEvYmluL3NoCg=="}},
            "network": {{"interface": [{{"ipv4": {{"ipAddress": [{{"privateIpAddress": "10.0.0.4"}}]}}}}]}}}}"#
    );
    Server::with_handler(move |_| Response::ok(&document))
}

fn disk(machine: &Machine) {
    let text = format!(
        "<Environment xmlns='a' xmlns:wa='b'><wa:ProvisioningSection><wa:LinuxProvisioningConfigurationSet>\
         <wa:HostName>from-disk</wa:HostName><wa:UserName>core</wa:UserName><wa:UserPassword>{PASSWORD}</wa:UserPassword>\
         <wa:SSH><wa:PublicKeys><wa:PublicKey><wa:Value>ssh-rsa A</wa:Value></wa:PublicKey></wa:PublicKeys></wa:SSH>\
         <wa:CustomData>{CUSTOM_DATA}</wa:CustomData>\
         </wa:LinuxProvisioningConfigurationSet></wa:ProvisioningSection></Environment>"
    );
    machine.put("/media/azure/ovf-env.xml", &text);
}

/// As the machine boots.
fn boot(machine: &Machine, service: &Server, more: &[&str]) -> RunOutput {
    let service = format!("-from-azure-metadata={}", service.url("/"));
    let disk = format!("-from-azure-ovf-env={}", machine.path("/media/azure/ovf-env.xml").display());
    machine.start(&[&[&*service, &disk], more].concat(), &SPEEDUP, b"")
}

fn files_with(machine: &Machine, text: &str) -> Vec<std::path::PathBuf> {
    let mut folders = vec![machine.root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path)
                .is_ok_and(|content| String::from_utf8_lossy(&content).contains(text))
            {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn custom_data_of_the_disk_is_applied_in_each_boot() {
    let (machine, service) = (Machine::new(), service("vm-1"));
    disk(&machine);
    let output = boot(&machine, &service, &[]);
    output.expect(0, &["of type \"azure-metadata-service\"", "Keeping the custom data in /var"]);
    assert_eq!(
        (machine.read("/custom"), machine.read("/etc/hostname")),
        ("10.0.0.4".into(), "from-disk\n".into())
    );
    assert_eq!(machine.mode(SAVED), 0o600);
    output.never_contains(PASSWORD);
    let disk = [machine.path("/media/azure/ovf-env.xml")];
    assert_eq!(files_with(&machine, PASSWORD), disk, "the password is in another file");

    // Azure removes the disk after the first boot.
    std::fs::remove_file(&disk[0]).unwrap();
    std::fs::remove_file(machine.path("/custom")).unwrap();
    boot(&machine, &service, &[]).expect(0, &[]).never_contains("Keeping");
    assert_eq!(machine.read("/custom"), "10.0.0.4");
}

#[test]
fn custom_data_of_another_machine_is_not_applied() {
    let machine = Machine::new();
    disk(&machine);
    boot(&machine, &service("vm-1"), &[]).expect(0, &[]);
    // The disk of the system was copied.
    std::fs::remove_file(machine.path("/media/azure/ovf-env.xml")).unwrap();
    boot(&machine, &service("vm-2"), &["-plan"]).expect(0, &["\"op\":\"script\""]).never_contains("/custom");
}

const GOAL_STATE: &str = "<GoalState><Incarnation>3</Incarnation><Container><ContainerId>c-1</ContainerId>\
    <RoleInstanceList><RoleInstance><InstanceId>i-1</InstanceId></RoleInstance></RoleInstanceList></Container></GoalState>";

fn report(fabric: &Server) -> RunOutput {
    Machine::new().start(&[&format!("-azure-report-ready={}", fabric.url("/"))], &SPEEDUP, b"")
}

#[test]
fn the_fabric_gets_the_report() {
    let attempts = AtomicU32::new(0);
    let fabric = Server::with_handler(move |request| {
        let is_known = request.header("x-ms-version") == Some("2012-11-30");
        match (&*request.method, &*request.path) {
            // The fabric is late.
            _ if attempts.fetch_add(1, Ordering::Relaxed) < 2 => Response::status("503 Unavailable", ""),
            ("GET", "/machine/?comp=goalstate") if is_known => Response::ok(GOAL_STATE),
            ("POST", "/machine/?comp=health") if is_known => Response::ok(""),
            _ => Response::not_found(),
        }
    });
    report(&fabric).expect(0, &["Azure has the report"]);
    let requests = fabric.requests();
    let last = requests.last().unwrap();
    assert_eq!((&*last.method, last.header("content-type")), ("POST", Some("text/xml; charset=utf-8")));
    assert!(last.header("x-ms-agent-name").is_some());
    for part in [
        "<GoalStateIncarnation>3</GoalStateIncarnation>",
        "<ContainerId>c-1</ContainerId>",
        "<InstanceId>i-1</InstanceId><Health><State>Ready</State></Health>",
    ] {
        assert!(last.body.contains(part), "{}", last.body);
    }
}

#[test]
fn a_report_that_is_not_acknowledged_is_a_failure() {
    let refuses = Server::with_handler(|request| match &*request.method {
        "GET" => Response::ok(GOAL_STATE),
        _ => Response::status("410 Gone", ""),
    });
    let expected = ["cannot report to Azure that the machine is ready", "HTTP status 410"];
    report(&refuses).expect(1, &expected);
    let silent = Server::with_handler(|_| Response::Close);
    report(&silent).expect(1, &["Maximum retries reached: 15"]);
    let other = Server::with_handler(|_| Response::ok("<html></html>"));
    report(&other).expect(1, &["the goal state is not valid: it has no Incarnation"]);
    assert!(other.requests().iter().all(|request| request.method == "GET"));
}
