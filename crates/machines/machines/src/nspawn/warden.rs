//! The end of a node with its keeper, whatever ends that: SIGKILL and the kernel's want of memory too.
//!
//! nspawn alone leaves its guest behind when it is killed. Here each boot has a process namespace of its own,
//! whose first process lives only as long as a pipe that the keeper holds; with it the kernel ends all others.

use std::ffi::CStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use nix::libc;
use nix::sched::{CloneFlags, unshare};

/// Reads its input until that ends, and does nothing else.
const FIRST: &str = "cat";
const PROC: &CStr = c"proc";
const PROC_PLACE: &CStr = c"/proc";

/// The process namespace of one boot. All that runs in it ends with this value, or with this process.
#[derive(Debug)]
pub struct Warden {
    /// The namespace's first process, and in its input our end of the pipe.
    first: Child,
}

impl Warden {
    /// From now on this thread starts processes in the namespace. It cannot start threads any more, nor another
    /// namespace: it is to be a thread for this one boot.
    pub fn of_this_thread() -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWPID)?;
        let mut command = Command::new(FIRST);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { first: command.spawn()? })
    }

    /// Lets the program of `command` see, in `/proc`, the processes of its namespace by their numbers there.
    pub fn show_processes(command: &mut Command) {
        // SAFETY: two system calls on constants, between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
                if libc::unshare(libc::CLONE_NEWNS) != 0
                    || libc::mount(PROC.as_ptr(), PROC_PLACE.as_ptr(), PROC.as_ptr(), flags, ptr::null()) != 0
                {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // Waiting closes the pipe; SIGKILL only is quicker. When it has been waited for, all others are gone too.
        if let Err(error) = self.first.kill().and_then(|()| self.first.wait()) {
            eprintln!("the first process of the node's namespace: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::time::Duration;

    use super::*;
    use crate::process::Process;

    /// Says to the test below that it is to be the keeper.
    const KEEPER: &str = "KEELSON_TEST_OF_A_KEEPER";

    /// A process that has another one in a namespace of its own, and tells its number.
    fn keep() {
        let _warden = Warden::of_this_thread().unwrap();
        let mut sleep = Command::new("sh");
        // A grandchild that nobody's death signal reaches, as the guest is nspawn's.
        sleep.args(["-c", "setsid sleep 1000 & wait"]);
        Warden::show_processes(&mut sleep);
        let mut child = sleep.spawn().unwrap();
        println!("\nkept {}", child.id());
        // Killed long before that ends.
        child.wait().unwrap();
    }

    fn child_of(process: Process) -> Option<Process> {
        let pid = process.pid;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_ascii_whitespace().next()?.parse().ok().and_then(Process::of)
    }

    #[test]
    #[ignore = "wants root: cargo verify wants"]
    fn what_a_killed_keeper_kept_is_gone() {
        if std::env::var_os(KEEPER).is_some() {
            return keep();
        }
        let name =
            format!("{}::what_a_killed_keeper_kept_is_gone", module_path!().split_once("::").unwrap().1);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", &name, "--nocapture"]).env(KEEPER, "1").stdout(Stdio::piped());
        // The mounts of what it keeps are not to be seen here.
        // SAFETY: one system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE;
                unshare(CloneFlags::CLONE_NEWNS)?;
                Ok(nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
            });
        }
        let mut keeper = command.spawn().unwrap();
        let told = BufReader::new(keeper.stdout.take().unwrap())
            .lines()
            .find_map(|line| line.unwrap().strip_prefix("kept ")?.parse().ok());
        let kept = Process::of(told.expect("no number was told")).unwrap();
        let grandchild = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            child_of(kept)
        });
        let grandchild = grandchild.expect("it runs nothing");
        keeper.kill().unwrap();
        keeper.wait().unwrap();
        assert!(kept.wait(Duration::from_secs(10)), "it outlives its keeper");
        assert!(grandchild.wait(Duration::from_secs(10)), "the guest outlives its keeper");
    }
}
