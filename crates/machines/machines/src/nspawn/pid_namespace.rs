//! Ties the life of a node to its supervisor, even if that is killed by SIGKILL or the OOM killer.
//!
//! A killed nspawn leaves its guest running. Each boot therefore has its own pid namespace, whose init exits when a
//! pipe of the supervisor closes; the kernel then kills all other processes in it.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use nix::libc;
use nix::sched::{CloneFlags, unshare};

/// Reads its input until end of file.
const INIT: &str = "cat";
const PROC: &CStr = c"proc";
const PROC_PATH: &CStr = c"/proc";

/// The pid namespace of one boot. Its processes are killed on drop, or when this process exits.
#[derive(Debug)]
pub struct PidNamespace {
    /// The namespace's init; its standard input is the pipe.
    init: Child,
}

impl PidNamespace {
    /// Moves this thread's future children into a new pid namespace. The thread can no longer start threads or
    /// unshare again, so it must be dedicated to one boot.
    pub fn enter_on_this_thread() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWPID)?;
        let mut command = Command::new(INIT);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { init: command.spawn()? })
    }

    /// Mounts `/proc` of the pid namespace for the program of `command`.
    #[allow(unsafe_code, reason = "system calls between fork and exec")]
    pub fn mount_proc(command: &mut Command) {
        // SAFETY: only system calls on constants between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
                if libc::unshare(libc::CLONE_NEWNS) != 0
                    || libc::mount(PROC.as_ptr(), PROC_PATH.as_ptr(), PROC.as_ptr(), flags, ptr::null()) != 0
                {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
    }
}

impl Drop for PidNamespace {
    fn drop(&mut self) {
        // `wait` closes the pipe; SIGKILL is faster. When init is reaped, all other processes are gone.
        if let Err(error) = self.init.kill().and_then(|()| self.init.wait()) {
            eprintln!("cannot run the first process of the node's PID namespace: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Duration;

    use super::*;
    use crate::process::Process;

    /// Makes the test below act as the supervisor.
    const SUPERVISOR_VARIABLE: &str = "KEELSON_TEST_OF_A_KEEPER";

    /// Runs a process in a pid namespace and prints its pid.
    fn run_as_supervisor() {
        let _namespace = PidNamespace::enter_on_this_thread().unwrap();
        let mut sleep = Command::new("sh");
        // A grandchild without a parent-death signal, as the guest is of nspawn.
        sleep.args(["-c", "setsid sleep 1000 & wait"]);
        PidNamespace::mount_proc(&mut sleep);
        let mut child = sleep.spawn().unwrap();
        println!("\nkept {}", child.id());
        // Killed long before that exits.
        child.wait().unwrap();
    }

    fn child_of(process: Process) -> Option<Process> {
        let pid = process.pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_ascii_whitespace().next()?.parse().ok().and_then(Process::of)
    }

    #[test]
    #[allow(unsafe_code, reason = "system calls between fork and exec")]
    #[ignore = "wants root: cargo verify wants"]
    fn the_namespace_ends_with_its_supervisor() {
        if std::env::var_os(SUPERVISOR_VARIABLE).is_some() {
            return run_as_supervisor();
        }
        let name =
            format!("{}::the_namespace_ends_with_its_supervisor", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--ignored", "--exact", &name, "--nocapture"])
            .env(SUPERVISOR_VARIABLE, "1")
            .stdout(Stdio::piped());
        // Keeps the mounts of the namespace private to the child.
        // SAFETY: only system calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
                unshare(CloneFlags::CLONE_NEWNS)?;
                Ok(nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
            });
        }
        let mut supervisor = command.spawn().unwrap();
        let pid = BufReader::new(supervisor.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("kept ")?.parse().ok());
        let child_process = Process::of(pid.expect("no number was told")).unwrap();
        let grandchild = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            child_of(child_process)
        });
        let grandchild = grandchild.expect("it runs nothing");
        supervisor.kill().unwrap();
        supervisor.wait().unwrap();
        assert!(child_process.wait(Duration::from_secs(10)), "it outlives its keeper");
        assert!(grandchild.wait(Duration::from_secs(10)), "the guest outlives its keeper");
    }
}
