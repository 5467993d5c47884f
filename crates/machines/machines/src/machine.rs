//! One node with the operations of test scenarios: start, succeed, fail, `wait_until_succeeds`, `wait_for_unit`,
//! crash, reboot, partition.
//!
//! Every wait has a deadline and reports the last observation.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::backend::DiskFault;
use crate::cluster::Node;
use crate::limits;
use crate::ready::{Limit, Ready};
use crate::site::{Site, SiteError};
use crate::ssh::{self, Output, RunError};

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("{node}: `{command}` exited with {code}{}", output_suffix(.output))]
    Failed { node: String, command: String, code: i32, output: String },
    #[error("{node}: `{command}` succeeded, but was expected to fail{}", output_suffix(.output))]
    UnexpectedSuccess { node: String, command: String, output: String },
    #[error("{node}: `{command}` did not succeed within {} s; last exit code {code}{}",
        .limit.as_secs(), output_suffix(.output))]
    TimedOut { node: String, command: String, limit: Duration, code: i32, output: String },
    #[error("{node}: unit {unit} is {state}")]
    Unit { node: String, unit: String, state: String },
    #[error("{node} did not shut down in time: its power was cut")]
    PowerCut { node: String },
    #[error("cannot write {path}")]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("{node}")]
    Ssh { node: String, source: RunError },
    #[error(transparent)]
    Site(#[from] SiteError),
}

fn output_suffix(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!(": {output}") }
}

#[derive(Clone)]
pub struct Machine<'a> {
    site: &'a Site,
    name: String,
    boot: Limit,
    slowdown: fn() -> f64,
}

/// The end of a wait. When the limit has passed, it is extended once by the host's current slowdown.
struct Deadline {
    started_at: Instant,
    limit: Duration,
    slowdown: Option<fn() -> f64>,
}

impl Deadline {
    fn has_passed(&mut self) -> bool {
        if self.started_at.elapsed() < self.limit {
            return false;
        }
        let Some(slowdown) = self.slowdown.take() else { return true };
        self.limit = self.limit.mul_f64(slowdown().max(1.0));
        self.started_at.elapsed() >= self.limit
    }
}

impl<'a> Machine<'a> {
    /// `boot` limits the wait for readiness. `slowdown` measures how much slower the host is now than the reference
    /// host of the limits.
    #[must_use]
    pub fn new(site: &'a Site, name: &str, boot: Limit, slowdown: fn() -> f64) -> Self {
        Self { site, name: name.to_owned(), boot, slowdown }
    }

    fn deadline(&self, limit: Duration) -> Deadline {
        Deadline { started_at: Instant::now(), limit, slowdown: Some(self.slowdown) }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn node(&self) -> Result<Node, MachineError> {
        Ok(self.site.node(&self.name)?)
    }

    pub fn start(&self) -> Result<Ready, MachineError> {
        Ok(self.site.start(&self.name, self.boot, &|_| {})?)
    }

    pub fn power_on(&self) -> Result<(), MachineError> {
        Ok(self.site.power_on(&self.name)?)
    }

    pub fn crash(&self) -> Result<(), MachineError> {
        Ok(self.site.crash(&self.name)?)
    }

    /// Copies the disk of the running node to a new folder, in the state that a power failure would leave.
    pub fn snapshot_disk(&self, folder: &Path) -> Result<(), MachineError> {
        Ok(self.site.snapshot_disk(&self.name, folder)?)
    }

    /// Cuts the node's power and replaces its disk by a snapshot. The snapshot is moved.
    pub fn replace_disk(&self, folder: &Path) -> Result<(), MachineError> {
        Ok(self.site.replace_disk(&self.name, folder)?)
    }

    /// Presses the power button, and waits until the system has shut down.
    pub fn shut_down(&self) -> Result<(), MachineError> {
        match self.site.stop(&self.node()?)? {
            true => Ok(()),
            false => Err(MachineError::PowerCut { node: self.name.clone() }),
        }
    }

    pub fn reboot(&self) -> Result<Ready, MachineError> {
        Ok(self.site.reboot(&self.name, self.boot, &|_| {})?)
    }

    /// Disconnects the node from the LAN; ssh still works.
    pub fn partition(&self) -> Result<(), MachineError> {
        Ok(self.site.partition(&self.name, true)?)
    }

    pub fn heal(&self) -> Result<(), MachineError> {
        Ok(self.site.partition(&self.name, false)?)
    }

    /// Injects a disk fault, or clears it.
    pub fn disk(&self, fault: DiskFault) -> Result<(), MachineError> {
        Ok(self.site.set_disk_fault(&self.name, fault)?)
    }

    /// Runs a shell command as `core`. Any exit code is a success of this call.
    pub fn execute(&self, command: &str) -> Result<Output, MachineError> {
        self.execute_with(command, b"")
    }

    fn execute_with(&self, command: &str, input: &[u8]) -> Result<Output, MachineError> {
        ssh::run(self.site.layout(), &self.node()?, ssh::Connection::Shared, command, input, limits::COMMAND)
            .map_err(|source| MachineError::Ssh { node: self.name.clone(), source })
    }

    /// Runs a command that must succeed; returns its standard output.
    pub fn succeed(&self, command: &str) -> Result<String, MachineError> {
        let output = self.execute(command)?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        Err(MachineError::Failed {
            node: self.name.clone(),
            command: command.into(),
            code: output.code,
            output: combined_output(output),
        })
    }

    /// Runs a command that must fail. A failure of ssh itself (255) does not count.
    pub fn fail(&self, command: &str) -> Result<String, MachineError> {
        let output = self.execute(command)?;
        let (node, command) = (self.name.clone(), command.to_owned());
        match output.code {
            0 => Err(MachineError::UnexpectedSuccess { node, command, output: combined_output(output) }),
            255 => Err(MachineError::Failed { node, command, code: 255, output: combined_output(output) }),
            _ => Ok(combined_output(output)),
        }
    }

    /// Runs a command repeatedly until it succeeds.
    pub fn wait_until_succeeds(&self, command: &str, limit: Duration) -> Result<String, MachineError> {
        self.wait_until(command, limit, |output| output.code == 0)
    }

    /// Runs a command repeatedly until it fails on the node.
    pub fn wait_until_fails(&self, command: &str, limit: Duration) -> Result<String, MachineError> {
        self.wait_until(command, limit, |output| !matches!(output.code, 0 | 255))
    }

    fn wait_until(
        &self,
        command: &str,
        limit: Duration,
        good: impl Fn(&Output) -> bool,
    ) -> Result<String, MachineError> {
        let mut deadline = self.deadline(limit);
        loop {
            let output = self.execute(command)?;
            if good(&output) {
                return Ok(output.stdout);
            }
            if deadline.has_passed() {
                let (node, code) = (self.name.clone(), output.code);
                return Err(MachineError::TimedOut {
                    node,
                    command: command.into(),
                    limit: deadline.limit,
                    code,
                    output: combined_output(output),
                });
            }
            self.pause(limits::RETRY)?;
        }
    }

    /// Waits until a unit is active. Returns early, with the unit's status, if the unit has failed.
    pub fn wait_for_unit(&self, unit: &str, limit: Duration) -> Result<(), MachineError> {
        let mut deadline = self.deadline(limit);
        loop {
            let output = self.execute(&format!("systemctl is-active {unit}"))?;
            let state = output.stdout.trim().to_owned();
            if state == "active" {
                return Ok(());
            }
            if state == "failed" || deadline.has_passed() {
                let status =
                    self.execute(&format!("systemctl status --no-pager --full --lines=10 {unit}"))?;
                let state = format!("{state}\n{}", combined_output(status));
                return Err(MachineError::Unit { node: self.name.clone(), unit: unit.into(), state });
            }
            self.pause(limits::RETRY)?;
        }
    }

    pub fn read(&self, path: &str) -> Result<String, MachineError> {
        self.succeed(&format!("sudo cat -- '{path}'"))
    }

    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), MachineError> {
        let command = format!("sudo sh -c 'cat >\"$0\" && sync' '{path}'");
        let output = self.execute_with(&command, content)?;
        if output.code == 0 {
            return Ok(());
        }
        Err(MachineError::Failed {
            node: self.name.clone(),
            command,
            code: output.code,
            output: combined_output(output),
        })
    }

    /// Saves the node's journal to `folder`, if the node is reachable.
    pub fn save_journal(&self, folder: &Path) -> Result<(), MachineError> {
        let output = self.execute("sudo journalctl --no-pager --output=short-monotonic")?;
        let path = folder.join(format!("{}.journal", self.name));
        std::fs::write(&path, combined_output(output)).map_err(|source| MachineError::Write { path, source })
    }

    pub fn console(&self) -> String {
        let log = self.site.layout().node(&self.name).console_log();
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the console shows `text`; the machine need not become ready.
    pub fn wait_for_console(&self, text: &str, limit: Duration) -> Result<(), MachineError> {
        let mut deadline = self.deadline(limit);
        while !self.console().contains(text) {
            if deadline.has_passed() {
                let log = self.site.layout().node(&self.name).console_log();
                let output = crate::console::tail(&log, limits::TAIL_LINES).join("\n");
                let command = format!("console shows {text}");
                return Err(MachineError::TimedOut {
                    node: self.name.clone(),
                    command,
                    limit: deadline.limit,
                    code: 1,
                    output,
                });
            }
            self.pause(limits::TICK)?;
        }
        Ok(())
    }

    /// Sleeps between two polls. Fails after Ctrl-C.
    fn pause(&self, time: Duration) -> Result<(), MachineError> {
        self.site.check_cancelled()?;
        std::thread::sleep(time);
        Ok(())
    }
}

fn combined_output(output: Output) -> String {
    let mut text = output.stdout;
    text += &output.stderr;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_extended_once_by_the_slowdown() {
        let of = |slowdown: fn() -> f64| {
            let started_at = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
            Deadline { started_at, limit: Duration::from_secs(4), slowdown: Some(slowdown) }
        };
        assert!(of(|| 1.0).has_passed());
        assert!(of(|| 2.0).has_passed());
        let mut slow = of(|| 3.0);
        assert!(!slow.has_passed());
        assert_eq!((slow.limit, slow.slowdown.is_some()), (Duration::from_secs(12), false));
        slow.started_at = slow.started_at.checked_sub(Duration::from_secs(2)).unwrap();
        assert!(slow.has_passed());
    }
}
