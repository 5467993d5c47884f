//! Descriptors of processes. Unlike a pid, a descriptor never refers to another process.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;

/// Becomes readable when the process exits.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// The process that has the pid now.
    #[allow(unsafe_code, reason = "nix has no pidfd_open")]
    pub fn open(pid: libc::pid_t) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers.
        match unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the descriptor is new and has no other owner. Descriptors are ints.
            number => Ok(Self(unsafe { OwnedFd::from_raw_fd(number as libc::c_int) })),
        }
    }

    /// Fails with ESRCH if the process has exited.
    #[allow(unsafe_code, reason = "nix has no pidfd_send_signal, and no type for real-time signals")]
    pub fn send(&self, signal: libc::c_int) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open; without a siginfo, pidfd_send_signal reads no memory.
        let result =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, no_info, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// Makes the test below run its part in the pid namespace.
    const INSIDE_VARIABLE: &str = "KEELSON_TEST_OF_A_REUSED_PID";
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

    fn sleep() -> Child {
        Command::new("sleep").arg("1000").spawn().unwrap()
    }

    fn end(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn a_pid_is_reused() {
        let first = sleep();
        let pid = first.id().cast_signed();
        let descriptor = PidFd::open(pid).unwrap();
        descriptor.send(0).unwrap();
        end(first);
        std::fs::write(LAST_PID, (pid - 1).to_string()).unwrap();
        let second = sleep();
        assert_eq!(second.id().cast_signed(), pid);
        assert_eq!(descriptor.send(libc::SIGKILL).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        end(second);
    }

    #[test]
    fn a_process_that_reuses_the_pid_is_not_signalled() {
        if std::env::var_os(INSIDE_VARIABLE).is_some() {
            return a_pid_is_reused();
        }
        let namespace = || {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
            command
        };
        if !namespace().args(["test", "-w", LAST_PID]).status().is_ok_and(|status| status.success()) {
            eprintln!(
                "SKIPPED: a_process_that_reuses_the_pid_is_not_signalled: no user and pid namespaces here"
            );
            return;
        }
        let module = module_path!().split_once("::").unwrap().1;
        let name = format!("{module}::a_process_that_reuses_the_pid_is_not_signalled");
        let inside = namespace()
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &name])
            .env(INSIDE_VARIABLE, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&inside.stdout);
        assert!(inside.status.success() && output.contains("1 passed"), "{inside:?}");
    }
}
