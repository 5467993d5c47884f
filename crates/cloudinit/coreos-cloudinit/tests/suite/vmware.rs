//! VMware's guestinfo, from a model of its hypervisor.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use crate::support::vmware::{Fault, Hypervisor, firmware, run};
use crate::support::{Machine, RunOutput};

const FROM: &str = "-from-vmware-guestinfo";
const ADDRESSES: &str = "#cloud-config\nwrite_files: [{path: /addresses, content: $private_ipv4}]\n";
/// [`ADDRESSES`] in base64.
const IN_BASE64: &str =
    "I2Nsb3VkLWNvbmZpZwp3cml0ZV9maWxlczogW3twYXRoOiAvYWRkcmVzc2VzLCBjb250ZW50OiAkcHJpdmF0ZV9pcHY0fV0K";

fn machine() -> Machine {
    let machine = Machine::new();
    firmware(&machine);
    machine
}

fn plan(machine: &Machine, hypervisor: &mut Hypervisor) -> RunOutput {
    let observed = run(machine, &["-plan", FROM], Some(hypervisor));
    assert_eq!(hypervisor.open, 0, "a channel is open");
    observed.output
}

#[test]
fn guestinfo_is_read_without_a_tool() {
    let machine = machine();
    let mut hypervisor = Hypervisor::new(&[
        ("hostname", "core-01"),
        ("interface.0.name", "eth0"),
        ("interface.0.role", "private"),
        ("interface.0.ip.0.address", "10.0.0.8/24"),
        ("coreos.config.data", ADDRESSES),
    ]);
    let observed = run(&machine, &["-convert-netconf=vmware", FROM], Some(&mut hypervisor));
    observed.output.expect(0, &["of type \"vmware\""]);
    assert_eq!(machine.read("/addresses"), "10.0.0.8");
    assert_eq!(machine.read("/etc/hostname"), "core-01\n");
    let network = machine.read("/run/systemd/network/00-eth0.network");
    assert!(network.contains("Address=10.0.0.8/24"), "{network}");
    assert!(observed.ports.iter().all(|ports| *ports == [0x5658, 4, 1]) && !observed.ports.is_empty());
    let different: BTreeSet<_> = hypervisor.requests.iter().collect();
    assert_eq!(hypervisor.requests[0], "info-get guestinfo.ovfenv");
    assert_eq!(different.len(), hypervisor.requests.len(), "nothing is requested twice");
}

#[test]
fn downloaded_data_is_decoded_like_inline_data() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:hush@{}/config", server.local_addr().unwrap());
    let mut hypervisor = Hypervisor::new(&[
        ("coreos.config.data", ""),
        ("coreos.config.data.encoding", "b64"),
        ("coreos.config.url", &url),
    ]);
    let serving = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        BufReader::new(stream.try_clone().unwrap()).lines().find(|line| line.as_ref().unwrap().is_empty());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", IN_BASE64.len());
        stream.write_all(&[head.as_bytes(), IN_BASE64.as_bytes()].concat()).unwrap();
    });
    let output = plan(&machine(), &mut hypervisor);
    output.expect(0, &[r#""path":"/addresses""#]).never_contains("hush").never_contains("was base64 encoded");
    serving.join().unwrap();
}

#[test]
fn an_ovf_environment_with_properties_takes_precedence() {
    let keys = [("ovfenv", "<Environment/>"), ("coreos.config.data", ADDRESSES)];
    plan(&machine(), &mut Hypervisor::new(&keys)).expect(0, &[r#""path":"/addresses""#]);
    let property = "<Environment><Property key='guestinfo.hostname' value='ovf'/></Environment>";
    let keys = [("ovfenv", property), ("coreos.config.data", ADDRESSES)];
    let output = plan(&machine(), &mut Hypervisor::new(&keys));
    output.expect(0, &[r#"{"op":"hostname","name":"ovf","#]).never_contains("/addresses");
}

#[test]
fn other_machines_do_not_run_the_instruction() {
    let mut hypervisor = Hypervisor::new(&[("coreos.config.data", ADDRESSES)]);
    let output = plan(&Machine::new(), &mut hypervisor);
    output.expect(1, &["No datasources available in time: this is no machine of VMware"]);
    assert_eq!(hypervisor.calls, 0);
}

#[test]
fn a_hypervisor_that_does_not_answer_is_an_error() {
    for (fault, expect) in [
        (Fault::NoPort, "no hypervisor answers at VMware's I/O port"),
        (Fault::NoMessages, "the hypervisor does not open a channel"),
        (Fault::StopsAfter(8), "the hypervisor does not send its whole reply"),
        (Fault::Announces(u32::MAX), "the hypervisor's reply has 4294967295 bytes, more than"),
    ] {
        let keys = [("ovfenv", "<Environment/>"), ("coreos.config.data", "hush")];
        let mut hypervisor = Hypervisor::new(&keys).with_fault(fault);
        let expected = [
            "cannot read guestinfo.ovfenv from the hypervisor: ",
            expect,
            "No datasources available in time",
        ];
        plan(&machine(), &mut hypervisor).expect(1, &expected).never_contains("hush");
    }
    // The processor refuses the instruction: the port is restricted, and the kernel permits none.
    let observed = run(&machine(), &["-plan", FROM], None);
    observed.output.expect(1, &["no hypervisor answers", "monitor_control.restrict_backdoor"]);
    assert!(!observed.first_thread.is_empty(), "the instruction did not run");
}
