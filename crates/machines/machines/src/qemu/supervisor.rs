//! The background process of a QEMU machine: gives QEMU a network namespace of its own, relays ports between it and the
//! host, and starts its uplink.
//!
//! QEMU's user network maps its gateway to the loopback of the network in which QEMU runs. In the namespace only the
//! relays of the ports that the host offers listen there, and QEMU itself on the forwarded ports.
//!
//! It exits with QEMU, and QEMU is killed with it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::guest::Guest;
use crate::network::namespace;
use crate::network::port_forward::{self, HostForwards};
use crate::network::uplink::{NAME_SERVER, Slirp};
use crate::process::Process;
use crate::tools::Tools;

/// The parameters of a supervisor, written by the back end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MachinePlan {
    /// Name of the node, for messages.
    pub node: String,
    pub tools: PathBuf,
    /// Host folders that QEMU uses.
    pub visible: Vec<PathBuf>,
    pub program: String,
    pub arguments: Vec<String>,
    /// Ports of the host's loopback that are forwarded to the same port of the namespace's, on which QEMU listens.
    pub forwards: Vec<u16>,
    /// Ports of the host's loopback that the machine reaches at the host's name.
    pub services: Vec<u16>,
    /// Whether the machine reaches the host's networks.
    pub outbound: bool,
    /// File for [`Guest`].
    pub guest: PathBuf,
}

/// Runs the machine described in `file` until QEMU exits; returns its exit code. No other thread may run yet.
pub fn run(file: &Path) -> io::Result<i32> {
    let plan: MachinePlan = serde_json::from_slice(&std::fs::read(file)?)?;
    let network = Network::create(&plan)?;
    let tools = Tools::open(&plan.tools, &plan.visible).map_err(io::Error::other)?;
    let tools = match (&network.namespace, plan.outbound) {
        (Some(_), true) => tools.with_name_server(NAME_SERVER),
        (None, true) => tools.with_name_servers(),
        (_, false) => tools,
    };
    let mut command = tools.command(&plan.program).map_err(io::Error::other)?;
    command.args(&plan.arguments).stdin(Stdio::null());
    if let Some(namespace) = &network.namespace {
        namespace::run_in(&mut command, namespace);
    }
    exit_with_this_thread(&mut command);
    let mut child = command.spawn()?;
    let qemu = i32::try_from(child.id()).map_err(io::Error::other)?;
    if let Some(process) = Process::of(qemu) {
        Guest { process, warnings: network.warnings.clone() }.write(&plan.guest)?;
    }
    let status = child.wait()?;
    Ok(status.code().or(status.signal()).unwrap_or(1))
}

/// The network in which QEMU runs.
struct Network {
    /// `None`: that of the host.
    namespace: Option<Arc<OwnedFd>>,
    warnings: Vec<String>,
    _relays: Option<HostForwards>,
    _uplink: Option<Slirp>,
}

impl Network {
    fn create(plan: &MachinePlan) -> io::Result<Self> {
        let node = &plan.node;
        let namespace = match namespace::enter_user_namespace().and_then(|()| namespace::create()) {
            Ok(namespace) => Arc::new(namespace),
            Err(error) => {
                let warning = format!(
                    "QEMU of {node} runs in the network of this host, and the machine reaches every port of its \
                     loopback: cannot create a network namespace: {error}"
                );
                return Ok(Self { namespace: None, warnings: vec![warning], _relays: None, _uplink: None });
            }
        };
        let current = Arc::new(Mutex::new(Some(Arc::clone(&namespace))));
        for port in plan.forwards.iter().copied() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            let (target, current) = ((Ipv4Addr::LOCALHOST, port), Arc::clone(&current));
            std::thread::spawn(move || port_forward::forward_to_node(&listener, target, &current));
        }
        let relays = port_forward::forward_to_host(&namespace, Ipv4Addr::LOCALHOST, &plan.services)?;
        let mut warnings = Vec::new();
        let uplink = plan
            .outbound
            .then(|| Slirp::configured(&plan.tools, &namespace))
            .and_then(|started| started.map_err(|error| warnings.push(error.without_uplink(node))).ok());
        Ok(Self { namespace: Some(namespace), warnings, _relays: Some(relays), _uplink: uplink })
    }
}

/// Has the program of `command` killed when the calling thread exits, also with its process by SIGKILL.
#[allow(unsafe_code, reason = "system calls between fork and exec")]
fn exit_with_this_thread(command: &mut Command) {
    let parent = nix::unistd::getpid();
    // SAFETY: only system calls on integers between fork and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // Without the signal, if the parent was killed before it was set.
            if nix::unistd::getppid() == parent { Ok(()) } else { Err(nix::errno::Errno::ESRCH.into()) }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use nix::sched::{CloneFlags, setns};

    use super::*;

    #[test]
    #[ignore = "wants root: cargo verify wants"]
    fn forwarded_ports_lead_into_the_namespace() {
        let port = crate::backend::free_port(0).unwrap();
        let plan = MachinePlan {
            node: "core-01".to_owned(),
            tools: "/".into(),
            visible: vec![],
            program: String::new(),
            arguments: vec![],
            forwards: vec![port],
            services: vec![],
            outbound: false,
            guest: PathBuf::new(),
        };
        let network = Network::create(&plan).unwrap();
        let namespace = network.namespace.clone().unwrap();
        let inside = std::thread::spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
        });
        let listener = inside.join().unwrap();
        let mut outside = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"greetings").unwrap();
        drop(stream);
        outside.write_all(b".").unwrap();
        let mut text = String::new();
        outside.read_to_string(&mut text).unwrap();
        assert_eq!(text, "greetings");
    }
}
