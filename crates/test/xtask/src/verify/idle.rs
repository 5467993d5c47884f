//! Runs a command at idle priority, concurrently with other steps.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{Ended, announce, ended};
use crate::interrupt;

/// Poll interval.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A separate session, whose autogroup yields to all others: scheduling policies apply only within one autogroup.
/// Kernels without autogroups lack the file.
const YIELDING: &str = "echo 19 2>/dev/null >/proc/self/autogroup; exec chrt --idle 0 \"$@\"";

/// A running command. Dropping it terminates it.
#[derive(Debug)]
pub struct Idle {
    child: Child,
    log: PathBuf,
    finished: bool,
}

impl Idle {
    /// Starts `command` with its output in `log`.
    pub fn start(command: &Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let other = file.try_clone().context("cannot share the log")?;
        announce(command);
        let mut yielding = Command::new("setsid");
        yielding.args(["sh", "-c", YIELDING, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => yielding.env(name, value),
                None => yielding.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            yielding.current_dir(folder);
        }
        let child = yielding.stdin(Stdio::null()).stdout(file).stderr(other).spawn();
        let child = child.context("cannot start setsid")?;
        Ok(Self { child, log: log.to_owned(), finished: false })
    }

    /// Waits for the command and prints its output. Ctrl-C terminates it explicitly: the terminal's signal does not
    /// reach another session.
    pub fn finish(mut self) -> Result<Ended> {
        let status = loop {
            if let Some(status) = self.child.try_wait().context("cannot wait for it")? {
                break status;
            }
            if interrupt::received() {
                bail!("interrupted");
            }
            std::thread::sleep(POLL_INTERVAL);
        };
        self.finished = true;
        eprint!("{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        Ok(ended(status, String::new()))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if !self.finished {
            interrupt::terminate_tree(i32::try_from(self.child.id()).unwrap_or(0));
            // It was terminated; its exit status is irrelevant.
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_output_and_its_end_are_the_commands() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo $WORD; pwd; chrt --pid $$; exit 3"]).env("WORD", "said").current_dir("/");
        let idle = Idle::start(&command, &folder.path().join("log")).unwrap();
        let ended = idle.finish().unwrap();
        assert_eq!((ended.success, ended.code), (false, Some(3)));
        let text = std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(text.starts_with("said\n/\n") && text.contains("SCHED_IDLE"), "{text}");
    }

    #[test]
    fn a_dropped_command_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let idle = Idle::start(&command, &folder.path().join("log")).unwrap();
        let process = format!("/proc/{}", idle.child.id());
        drop(idle);
        assert!(!Path::new(&process).exists());
    }
}
