//! Nodes as QEMU machines that boot the real disk image. Needs no privileges.
//!
//! Each node has a background process, its supervisor (`supervisor`), which runs QEMU in a network of its own.

mod arguments;
mod boot_source;
mod disk;
mod hardware;
mod option_value;
pub mod qmp;
mod sandbox;
pub mod supervisor;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::acceleration::{self, Acceleration};
use crate::backend::{Backend, BackendError, DiskFault, check_ports, check_space};
use crate::background::SupervisorCommand;
use crate::certificates;
use crate::cluster::{BootSource, Cluster, Node};
use crate::config_drive::Drive;
use crate::credential;
use crate::firmware;
use crate::guest::Guest;
use crate::limits;
use crate::process::{Process, ProcessError, last_line};
use crate::store::{Layout, NodeLayout, replace};
use crate::tools::Tools;
use qmp::Qmp;
use serde_json::json;
use supervisor::MachinePlan;

const PROGRAM: &str = "qemu-system-x86_64";

#[derive(Debug)]
pub struct Qemu {
    layout: Layout,
    tree: PathBuf,
    /// Host folders that machines use besides the cluster's folder.
    shared: BTreeSet<PathBuf>,
    command: SupervisorCommand,
    runtime: OnceLock<Runtime>,
}

/// What it takes to start a machine. Stopping one works without it.
#[derive(Debug)]
struct Runtime {
    tools: Tools,
    /// Host folders that the tools see.
    visible: Vec<PathBuf>,
    acceleration: Acceleration,
}

impl Qemu {
    #[must_use]
    pub fn new(layout: Layout, cluster: &Cluster, command: SupervisorCommand) -> Self {
        let raws =
            cluster.nodes.iter().filter_map(|node| node.made_from.as_ref()).chain([&cluster.image.raw]);
        let boot = match &cluster.boot_source {
            BootSource::Kernel(boot) => vec![&boot.kernel, &boot.initrd],
            BootSource::Medium(medium) => vec![&medium.file],
            BootSource::Disk | BootSource::Network(_) => Vec::new(),
        };
        let images = raws.chain(boot).filter_map(|file| file.parent()).map(PathBuf::from);
        let shared = images.chain(cluster.shared.iter().map(|folder| folder.host.clone())).collect();
        Self { layout, tree: cluster.image.tools.clone(), shared, command, runtime: OnceLock::new() }
    }

    fn runtime(&self) -> Result<&Runtime, BackendError> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        // The state folder of all clusters: the probe's files are beside the cluster's.
        let state = self.layout.root().parent().unwrap_or(self.layout.root());
        std::fs::create_dir_all(state)
            .map_err(|source| BackendError::Make { path: state.to_path_buf(), source })?;
        let existing = self.shared.iter().filter(|folder| folder.exists()).cloned();
        let visible: Vec<PathBuf> = [state.to_path_buf()].into_iter().chain(existing).collect();
        let tools = Tools::open(&self.tree, &visible)?;
        let acceleration = acceleration::decide(&tools, state)?;
        Ok(self.runtime.get_or_init(|| Runtime { tools, visible, acceleration }))
    }

    fn tools(&self) -> Result<&Tools, BackendError> {
        Ok(&self.runtime()?.tools)
    }

    fn files(&self, node: &Node) -> NodeLayout {
        self.layout.node(&node.name)
    }

    fn make_disk(&self, cluster: &Cluster, disk: &Path) -> Result<(), BackendError> {
        let raw = &cluster.image.raw;
        let image =
            raw.metadata().map_err(|source| BackendError::ReadImage { path: raw.clone(), source })?.len();
        let output = self
            .tools()?
            .command("qemu-img")?
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .arg(raw)
            .arg(disk)
            .arg(disk_size(image).to_string())
            .stdin(Stdio::null())
            .output()
            .map_err(|source| BackendError::Run("qemu-img", source))?;
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(BackendError::Tool { program: "qemu-img", message })
    }

    fn guest(&self, node: &Node) -> Option<Guest> {
        Guest::read(&self.files(node).guest())
    }

    /// Waits until QEMU responds on QMP, so that its own error is reported.
    fn wait_for_qmp(files: &NodeLayout, process: Process) -> Result<Guest, BackendError> {
        let deadline = Instant::now() + limits::QMP_ANSWER;
        loop {
            match (Qmp::connect(&files.qmp()), Guest::read(&files.guest())) {
                (Ok(_), Some(guest)) => return Ok(guest),
                (Err(error), _) if Instant::now() > deadline => {
                    process.kill()?;
                    return Err(error.into());
                }
                _ => {}
            }
            if !process.alive() {
                let log = files.process_log();
                return Err(BackendError::Ended { program: PROGRAM, message: last_line(&log), log });
            }
            // QEMU sends no event when its socket appears; it takes milliseconds.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn plan(&self, cluster: &Cluster, node: &Node, confined: bool) -> Result<MachinePlan, BackendError> {
        let Runtime { visible, acceleration, .. } = self.runtime()?;
        let forwards: Vec<u16> =
            node.forwards.iter().map(|forward| forward.host).chain([node.ssh_port]).collect();
        // A port that is forwarded to the machine has no other service on the host.
        let services = cluster.offered_ports().into_iter().filter(|port| !forwards.contains(port)).collect();
        Ok(MachinePlan {
            node: node.name.clone(),
            tools: self.tree.clone(),
            visible: visible.clone(),
            program: PROGRAM.to_owned(),
            arguments: arguments::arguments(&self.layout, cluster, node, acceleration, confined),
            forwards,
            services,
            outbound: cluster.outbound,
            guest: self.files(node).guest(),
        })
    }

    /// Returns when QEMU responds.
    fn start_qemu(&self, cluster: &Cluster, node: &Node, confined: bool) -> Result<Process, BackendError> {
        let files = self.files(node);
        // The QEMU of a supervisor that was killed may not have exited yet.
        if let Some(guest) = self.guest(node) {
            guest.process.kill()?;
        }
        for stale in [files.qmp(), files.console_socket(), files.ready(), files.guest()] {
            remove(&stale)?;
        }
        let plan = self.plan(cluster, node, confined)?;
        let made = |source| BackendError::Make { path: files.node_plan(), source };
        let text = serde_json::to_vec_pretty(&plan).map_err(|error| made(error.into()))?;
        replace(&files.node_plan(), &text).map_err(made)?;
        let command = self.command.of(&files.node_plan());
        let process = Process::spawn(command, &files.process_log()).map_err(|error| match error {
            ProcessError::Ended { log, message, .. } => {
                BackendError::Ended { program: PROGRAM, message, log }
            }
            other => other.into(),
        })?;
        let guest = Self::wait_for_qmp(&files, process)?;
        guest.warn();
        Ok(process)
    }
}

impl Backend for Qemu {
    fn acceleration(&self) -> Result<Option<Acceleration>, BackendError> {
        Ok(Some(self.runtime()?.acceleration.clone()))
    }

    fn prepare(&self, cluster: &Cluster, node: &Node, drive: &Drive) -> Result<(), BackendError> {
        let files = self.files(node);
        check_space(files.root())?;
        let host = files.host();
        std::fs::create_dir_all(&host).map_err(|source| BackendError::Make { path: host, source })?;
        if !files.variables().exists() {
            firmware::copy_variables(self.tools()?, &files.variables())?;
        }
        for (name, _) in certificates::CREDENTIALS.iter().filter(|_| cluster.tls) {
            let (from, to) =
                (certificates::file(files.root(), name), credential::smbios_file(files.root(), name));
            std::fs::read_to_string(&from)
                .and_then(|content| replace(&to, credential::smbios(name, &content).as_bytes()))
                .map_err(|source| BackendError::Make { path: to, source })?;
        }
        drive.write_image(&files.config_drive())?;
        drive.write_folder(&files.config_folder())?;
        if let Some(gib) = cluster.spare_disk_gib {
            let spare = files.spare_disk();
            std::fs::File::options()
                .create(true)
                .append(true)
                .open(&spare)
                .and_then(|file| file.set_len(u64::from(gib) << 30))
                .map_err(|source| BackendError::Make { path: spare, source })?;
        }
        if !files.disk().exists() {
            // Created under a temporary name: an existing disk is complete.
            let unfinished = files.root().join("disk.new");
            self.make_disk(cluster, &unfinished)?;
            std::fs::rename(&unfinished, files.disk())
                .map_err(|source| BackendError::Make { path: files.disk(), source })?;
        }
        Ok(())
    }

    fn update_drive(&self, node: &Node, drive: &Drive) -> Result<(), BackendError> {
        let files = self.files(node);
        drive.overwrite_image(&files.config_drive())?;
        Ok(drive.write_folder(&files.config_folder())?)
    }

    fn start(&self, cluster: &Cluster, node: &Node) -> Result<Process, BackendError> {
        check_ports(node)?;
        if let Some(raw) = node.made_from.as_ref().filter(|raw| !raw.exists()) {
            return Err(BackendError::Image(raw.clone()));
        }
        sandbox::start_confined(
            |confined| self.start_qemu(cluster, node, confined),
            |reason| {
                eprintln!(
                    "warning: QEMU of {} runs without a system call filter: {reason}; use a QEMU built with seccomp",
                    node.name
                );
            },
        )
    }

    fn machine_process(&self, node: &Node, process: Process) -> Process {
        self.guest(node).map(|guest| guest.process).filter(|qemu| qemu.alive()).unwrap_or(process)
    }

    fn shut_down(&self, node: &Node, _process: Process) -> Result<(), BackendError> {
        Qmp::connect(&self.files(node).qmp())?.run("system_powerdown")?;
        Ok(())
    }

    fn reset(&self, node: &Node, _process: Process) -> Result<(), BackendError> {
        Qmp::connect(&self.files(node).qmp())?.run("system_reset")?;
        Ok(())
    }

    fn power_off(&self, node: &Node, process: Process) -> Result<(), BackendError> {
        // Its supervisor then exits.
        let exits = match self.guest(node) {
            Some(guest) => guest.process.kill().map(|()| process.wait(limits::KILL))?,
            None => false,
        };
        if exits { Ok(()) } else { Ok(process.kill()?) }
    }

    fn set_disk_fault(&self, node: &Node, fault: DiskFault) -> Result<(), BackendError> {
        Ok(disk::set(&mut Qmp::connect(&self.files(node).qmp())?, fault)?)
    }

    fn diagnose(&self, node: &Node) -> Option<String> {
        let status = Qmp::connect(&self.files(node).qmp()).ok()?.run("query-status").ok()?;
        match status.get("status")?.as_str()? {
            "running" => None,
            "io-error" => Some(
                "QEMU paused the machine after an I/O error: the host's disk is full or failing".to_owned(),
            ),
            other => Some(format!("QEMU reports the state {other}")),
        }
    }

    fn processor_registers(&self, node: &Node) -> Option<String> {
        let mut qmp = Qmp::connect(&self.files(node).qmp()).ok()?;
        let registers =
            qmp.run_with("human-monitor-command", &json!({ "command-line": "info registers -a" }));
        Some(registers.ok()?.as_str()?.to_owned())
    }
}

fn remove(path: &Path) -> Result<(), BackendError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BackendError::Make { path: path.to_path_buf(), source: error })
        }
        _ => Ok(()),
    }
}

/// Bytes of a machine's disk, whose image has `image` bytes. A platform's image may be larger than the default: cut, it
/// would have no valid partition table.
fn disk_size(image: u64) -> u64 {
    image.max(u64::from(limits::DISK_GIB) << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_image_is_not_cut() {
        assert_eq!(disk_size(3 << 30), 8 << 30);
        assert_eq!(disk_size(16 << 30), 16 << 30);
    }
}
