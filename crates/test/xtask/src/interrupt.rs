//! Ctrl-C and SIGTERM: terminates the running children, skips the remaining steps, and still prints the summary.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static RECEIVED: AtomicBool = AtomicBool::new(false);
/// Process ids of the running children.
static CHILDREN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Installs the signal handler; called once, before the first child.
pub fn watch() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            RECEIVED.store(true, Ordering::SeqCst);
            // The terminal sends SIGINT to the children too; SIGTERM reaches only this process.
            if signal == SIGTERM {
                terminate_children();
            }
        }
    });
    Ok(())
}

fn terminate_children() {
    let running = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    running.into_iter().for_each(terminate_tree);
}

/// Terminates `process` and its descendants: cargo does not forward SIGTERM to its children.
pub fn terminate_tree(process: i32) {
    let mut waiting = vec![process];
    while let Some(process) = waiting.pop() {
        // Read before the parent exits, as its children would be reparented.
        waiting.extend(children(process));
        match kill(Pid::from_raw(process), Signal::SIGTERM) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => eprintln!("cannot end process {process}: {error}"),
        }
    }
}

/// The children of all threads; none if the process has exited.
fn children(process: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<i32>>())
        .collect()
}

pub fn received() -> bool {
    RECEIVED.load(Ordering::SeqCst)
}

/// A child that is terminated on SIGTERM until this is dropped.
#[derive(Debug)]
pub struct RunningChild(i32);

impl RunningChild {
    pub fn new(id: u32) -> Self {
        let id = id.cast_signed();
        CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Self(id)
    }
}

impl Drop for RunningChild {
    fn drop(&mut self) {
        CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_of_another_thread_is_found() {
        let spawn = || Command::new("sleep").arg("600").spawn().unwrap();
        let (found, mut child) = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let child = spawn();
                (children(std::process::id().cast_signed()).contains(&child.id().cast_signed()), child)
            });
            other.join().unwrap()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn all_running_children_are_terminated() {
        let sleep = || Command::new("sleep").arg("600").spawn().unwrap();
        let mut children = [sleep(), sleep(), sleep()];
        let [first, second, ended] = children.each_ref().map(|child| RunningChild::new(child.id()));
        drop(ended);
        terminate_children();
        drop((first, second));
        let [first, second, third] = &mut children;
        assert!(!first.wait().unwrap().success() && !second.wait().unwrap().success());
        assert!(third.try_wait().unwrap().is_none(), "terminated, though its owner has waited for it");
        third.kill().unwrap();
        third.wait().unwrap();
    }

    #[test]
    fn a_grandchild_ends_too() {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 600 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(shell.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.trim().parse::<i32>().is_ok(), "{line}");
        terminate_tree(i32::try_from(shell.id()).unwrap());
        shell.wait().unwrap();
        // The pipe closes when its last holder, the grandchild, exits.
        line.clear();
        assert_eq!(lines.read_line(&mut line).unwrap(), 0, "{line}");
    }
}
