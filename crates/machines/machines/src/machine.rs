//! One node with the words of scenarios: start, succeed, fail, `wait_until_succeeds`, `wait_for_unit`,
//! crash, reboot, partition.
//!
//! Every wait has a deadline and reports what it saw last.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::backend::DiskFault;
use crate::cluster::Node;
use crate::limits;
use crate::ready::{Limit, Ready};
use crate::site::{Site, SiteError};
use crate::ssh::{self, Output, RunError};

#[derive(Debug, thiserror::Error)]
pub enum WordError {
    #[error("{node}: `{command}` ended with {code}, not 0{}", said(.output))]
    Failed { node: String, command: String, code: i32, output: String },
    #[error("{node}: `{command}` should fail and did not{}", said(.output))]
    Succeeded { node: String, command: String, output: String },
    #[error("{node}: `{command}` did not succeed within {} s; at last it ended with {code}{}",
        .limit.as_secs(), said(.output))]
    Never { node: String, command: String, limit: Duration, code: i32, output: String },
    #[error("{node}: unit {unit} is {state}")]
    Unit { node: String, unit: String, state: String },
    #[error("cannot write {path}")]
    Write { path: std::path::PathBuf, source: std::io::Error },
    #[error("{node}")]
    Ssh { node: String, source: RunError },
    #[error(transparent)]
    Site(#[from] SiteError),
}

fn said(output: &str) -> String {
    let output = output.trim();
    if output.is_empty() { String::new() } else { format!(": {output}") }
}

/// A node of a site, by name.
#[derive(Clone)]
pub struct Machine<'a> {
    site: &'a Site,
    name: String,
    boot: Limit,
    slowdown: fn() -> f64,
}

/// When a wait is over. A limit that has passed is stretched once, by how slow the host is then.
struct Deadline {
    begun: Instant,
    limit: Duration,
    slowdown: Option<fn() -> f64>,
}

impl Deadline {
    fn has_passed(&mut self) -> bool {
        if self.begun.elapsed() < self.limit {
            return false;
        }
        let Some(slowdown) = self.slowdown.take() else { return true };
        self.limit = self.limit.mul_f64(slowdown().max(1.0));
        self.begun.elapsed() >= self.limit
    }
}

impl<'a> Machine<'a> {
    /// `boot` is how long it is waited for until it is ready; `slowdown` measures how many times as long as on the
    /// host for which limits are given anything takes now.
    #[must_use]
    pub fn new(site: &'a Site, name: &str, boot: Limit, slowdown: fn() -> f64) -> Self {
        Self { site, name: name.to_owned(), boot, slowdown }
    }

    fn deadline(&self, limit: Duration) -> Deadline {
        Deadline { begun: Instant::now(), limit, slowdown: Some(self.slowdown) }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn node(&self) -> Result<Node, WordError> {
        Ok(self.site.node(&self.name)?)
    }

    /// Boots it and waits until it is ready.
    pub fn start(&self) -> Result<Ready, WordError> {
        Ok(self.site.start(&self.name, self.boot, &|_| {})?)
    }

    /// Switches it on and does not wait.
    pub fn power_on(&self) -> Result<(), WordError> {
        Ok(self.site.power_on(&self.name)?)
    }

    /// Pulls its plug.
    pub fn crash(&self) -> Result<(), WordError> {
        Ok(self.site.crash(&self.name)?)
    }

    /// Copies its disk to a new folder as a power cut at this moment would leave it. It runs on.
    pub fn copy_disk_as_cut(&self, folder: &Path) -> Result<(), WordError> {
        Ok(self.site.copy_disk_as_cut(&self.name, folder)?)
    }

    /// Pulls its plug and gives it a disk that was copied. The copy moves to the machine.
    pub fn replace_disk(&self, folder: &Path) -> Result<(), WordError> {
        Ok(self.site.replace_disk(&self.name, folder)?)
    }

    pub fn shut_down(&self) -> Result<(), WordError> {
        Ok(self.site.stop(&self.node()?)?)
    }

    pub fn reboot(&self) -> Result<Ready, WordError> {
        Ok(self.site.reboot(&self.name, self.boot, &|_| {})?)
    }

    /// Cuts it off the LAN; ssh still works.
    pub fn partition(&self) -> Result<(), WordError> {
        Ok(self.site.partition(&self.name, true)?)
    }

    pub fn heal(&self) -> Result<(), WordError> {
        Ok(self.site.partition(&self.name, false)?)
    }

    /// Puts its disk at fault, or right again.
    pub fn disk(&self, fault: DiskFault) -> Result<(), WordError> {
        Ok(self.site.disk(&self.name, fault)?)
    }

    /// Runs a shell command as `core`; any exit code is an answer.
    pub fn execute(&self, command: &str) -> Result<Output, WordError> {
        self.execute_with(command, b"")
    }

    fn execute_with(&self, command: &str, input: &[u8]) -> Result<Output, WordError> {
        ssh::run(self.site.layout(), &self.node()?, ssh::Connection::Shared, command, input, limits::COMMAND)
            .map_err(|source| WordError::Ssh { node: self.name.clone(), source })
    }

    /// Runs a command that has to succeed; returns what it printed.
    pub fn succeed(&self, command: &str) -> Result<String, WordError> {
        let output = self.execute(command)?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        Err(WordError::Failed {
            node: self.name.clone(),
            command: command.into(),
            code: output.code,
            output: both(output),
        })
    }

    /// Runs a command that has to fail. That ssh itself fails is no success of this.
    pub fn fail(&self, command: &str) -> Result<String, WordError> {
        let output = self.execute(command)?;
        let (node, command) = (self.name.clone(), command.to_owned());
        match output.code {
            0 => Err(WordError::Succeeded { node, command, output: both(output) }),
            255 => Err(WordError::Failed { node, command, code: 255, output: both(output) }),
            _ => Ok(both(output)),
        }
    }

    /// Runs a command until it succeeds.
    pub fn wait_until_succeeds(&self, command: &str, limit: Duration) -> Result<String, WordError> {
        self.wait_until(command, limit, |output| output.code == 0)
    }

    /// Runs a command until it fails in the node.
    pub fn wait_until_fails(&self, command: &str, limit: Duration) -> Result<String, WordError> {
        self.wait_until(command, limit, |output| !matches!(output.code, 0 | 255))
    }

    fn wait_until(
        &self,
        command: &str,
        limit: Duration,
        good: impl Fn(&Output) -> bool,
    ) -> Result<String, WordError> {
        let mut deadline = self.deadline(limit);
        loop {
            let output = self.execute(command)?;
            if good(&output) {
                return Ok(output.stdout);
            }
            if deadline.has_passed() {
                let (node, code) = (self.name.clone(), output.code);
                return Err(WordError::Never {
                    node,
                    command: command.into(),
                    limit: deadline.limit,
                    code,
                    output: both(output),
                });
            }
            self.pause(limits::RETRY)?;
        }
    }

    /// Waits until a unit is active; a failed one ends the wait at once, with its status.
    pub fn wait_for_unit(&self, unit: &str, limit: Duration) -> Result<(), WordError> {
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
                let state = format!("{state}\n{}", both(status));
                return Err(WordError::Unit { node: self.name.clone(), unit: unit.into(), state });
            }
            self.pause(limits::RETRY)?;
        }
    }

    /// The content of a file of the node.
    pub fn read(&self, path: &str) -> Result<String, WordError> {
        self.succeed(&format!("sudo cat -- '{path}'"))
    }

    /// Writes a file in the node.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<(), WordError> {
        let command = format!("sudo sh -c 'cat >\"$0\" && sync' '{path}'");
        let output = self.execute_with(&command, content)?;
        if output.code == 0 {
            return Ok(());
        }
        Err(WordError::Failed { node: self.name.clone(), command, code: output.code, output: both(output) })
    }

    /// Keeps the journal of the node's boots in `folder`, where the node still answers.
    pub fn keep_journal(&self, folder: &Path) -> Result<(), WordError> {
        let output = self.execute("sudo journalctl --no-pager --output=short-monotonic")?;
        let path = folder.join(format!("{}.journal", self.name));
        std::fs::write(&path, both(output)).map_err(|source| WordError::Write { path, source })
    }

    /// What the console has shown so far.
    pub fn console(&self) -> String {
        let log = self.site.layout().node(&self.name).console_log();
        std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the console shows `text`, on a machine that need not get ready.
    pub fn wait_for_console(&self, text: &str, limit: Duration) -> Result<(), WordError> {
        let mut deadline = self.deadline(limit);
        while !self.console().contains(text) {
            if deadline.has_passed() {
                let log = self.site.layout().node(&self.name).console_log();
                let output = crate::console::tail(&log, limits::TAIL_LINES).join("\n");
                let command = format!("console shows {text}");
                return Err(WordError::Never {
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

    /// Between two looks at what is waited for; ends the wait after Ctrl-C.
    fn pause(&self, time: Duration) -> Result<(), WordError> {
        self.site.check_cancelled()?;
        std::thread::sleep(time);
        Ok(())
    }
}

fn both(output: Output) -> String {
    let mut text = output.stdout;
    text += &output.stderr;
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_stretched_once_by_what_the_host_takes() {
        let of = |slowdown: fn() -> f64| {
            let begun = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
            Deadline { begun, limit: Duration::from_secs(4), slowdown: Some(slowdown) }
        };
        assert!(of(|| 1.0).has_passed());
        assert!(of(|| 2.0).has_passed());
        let mut slow = of(|| 3.0);
        assert!(!slow.has_passed());
        assert_eq!((slow.limit, slow.slowdown.is_some()), (Duration::from_secs(12), false));
        slow.begun = slow.begun.checked_sub(Duration::from_secs(2)).unwrap();
        assert!(slow.has_passed());
    }
}
