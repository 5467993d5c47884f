//! One first boot, up to the banner of the SSH server.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::nic::Nic;
use super::probe::Probe;
use crate::bench::NO_USER_DATA;
use crate::bench::qemu::{Cost, Machine};
use crate::interrupt;

const CLUSTER: &str = "boot-peer";
/// The machine's console log, below the cluster's folder.
const CONSOLE: &str = "core-01/console.log";
const QMP: &str = "core-01/qmp.sock";
const FIRMWARE_END: &[u8] = b"BdsDxe: starting";
/// The soft reset with which systemd initializes a console.
const SYSTEMD: &[u8] = b"\x1b[!p";
/// Poll interval.
const INTERVAL: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(400);

/// Cost of a machine from its start to the firmware's handover, and to the SSH server's banner.
#[derive(Debug, Clone, Copy)]
pub struct Boot {
    pub firmware: Cost,
    pub ssh: Cost,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { firmware, ssh } = self;
        write!(
            f,
            "{:.1} s processor, {:.1} s; firmware {:.1} and {:.1}",
            ssh.processor, ssh.time, firmware.processor, firmware.time
        )
    }
}

/// Boots a new machine from the image of `manifest`, and removes it.
pub fn boot(program: &Path, manifest: &Path) -> Result<Boot> {
    let folder = tempfile::tempdir().context("a folder for the machine")?;
    let keelson = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--state-dir").arg(folder.path()).args(["--cluster", CLUSTER, "--quiet"]).args(arguments);
        // Emulated on every host.
        command.stdin(Stdio::null()).stdout(Stdio::null()).env("KEELSON_ACCELERATION", "tcg");
        command
    };
    let log = folder.path().join("up.log");
    let mut up = keelson(&["up", "--nodes", "1", "--on", "qemu", "--user-data", NO_USER_DATA, "--image"]);
    up.arg(manifest).stderr(File::create(&log).context("cannot make the log of up")?);
    let cluster = folder.path().join(CLUSTER);
    let mut up = up.spawn().context("cannot run keelson")?;
    let mut starting = Starting { cluster: cluster.clone(), up: &mut up, deadline: Instant::now() + LIMIT };
    let measured = starting.measure();
    // A Debian system never reports readiness to `up`.
    let ended = end(&mut up);
    let messages = fs::read_to_string(&log).unwrap_or_default();
    let machine = Machine::read(&cluster);
    let removed = keelson(&["destroy"]).status().is_ok_and(|status| status.success());
    if let (false, Some(machine)) = (removed, machine) {
        interrupt::terminate_tree(machine.pid);
    }
    let boot = measured.with_context(|| format!("up: {}", messages.trim()))?;
    ended?;
    if !removed {
        bail!("keelson could not destroy the machine");
    }
    Ok(boot)
}

/// Stops `up` as Ctrl-C does, so that the cluster's state file lists what it started.
fn end(up: &mut Child) -> Result<()> {
    if up.try_wait().context("cannot wait for keelson")?.is_none() {
        let pid = Pid::from_raw(up.id().cast_signed());
        kill(pid, Signal::SIGINT).context("cannot interrupt keelson")?;
    }
    up.wait().context("cannot wait for keelson")?;
    Ok(())
}

/// A machine that is booting.
struct Starting<'a> {
    cluster: PathBuf,
    up: &'a mut Child,
    deadline: Instant,
}

impl Starting<'_> {
    fn measure(&mut self) -> Result<Boot> {
        let console = self.cluster.join(CONSOLE);
        // The console log is not valid UTF-8 everywhere.
        let shows = |text: &[u8]| has(&fs::read(&console).unwrap_or_default(), text);
        let cost = |machine: Machine| Cost::of(machine.pid);
        let firmware =
            self.until("the firmware's end", |machine| shows(FIRMWARE_END).then(|| cost(machine)).flatten())?;
        self.until("systemd on the console", |_| shows(SYSTEMD).then_some(()))?;
        let mut nic = Nic::open(&self.cluster.join(QMP)).context("QEMU's QMP socket")?;
        self.until("its first packet", |_| nic.has_sent().map(|sent| sent.then_some(())).transpose())??;
        let mut probe = Probe::default();
        let ssh = self.until("the SSH banner", |machine| {
            probe.is_answered(machine.ssh_port).then(|| cost(machine)).flatten()
        })?;
        Ok(Boot { firmware, ssh })
    }

    /// Polls `observe` with the running machine until it returns a value.
    fn until<T>(&mut self, what: &str, mut observe: impl FnMut(Machine) -> Option<T>) -> Result<T> {
        loop {
            // Checked before the observation: the machine may become ready in between.
            let has_exited = self.up.try_wait().context("cannot wait for keelson")?.is_some();
            if let Some(found) = Machine::read(&self.cluster).and_then(&mut observe) {
                return Ok(found);
            }
            if interrupt::received() {
                bail!("interrupted");
            }
            if has_exited && Machine::read(&self.cluster).and_then(|machine| Cost::of(machine.pid)).is_none()
            {
                bail!("the machine ended before {what}");
            }
            if Instant::now() > self.deadline {
                bail!("{what} was not seen within {} s", LIMIT.as_secs());
            }
            sleep(INTERVAL);
        }
    }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_among_other_bytes() {
        assert!(has(b"\xff\x1b[2JBdsDxe: starting Boot0001", FIRMWARE_END));
        assert!(!has(b"BdsDxe: loading", FIRMWARE_END) && !has(b"", SYSTEMD));
    }
}
