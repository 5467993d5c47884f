//! Rights of what only reads: fetching, decoding, parsing, checking and planning run in threads that gave up root's.
//!
//! Linux keeps capabilities for each thread, so that the one that applies the plan keeps its own. A thread of which
//! reading is asked must never get them back: not by itself, not by a program that it starts. It is no wall against
//! code that was broken into, as all threads share one memory; it is for what goes wrong without that: a path or a
//! helper program that leads to where nothing is to be changed.

use std::io;
use std::panic::resume_unwind;
use std::thread;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl;

/// User-data and databases may lie where only another user may read.
const NEEDED: Capability = Capability::CAP_DAC_READ_SEARCH;
/// As much as a process's first thread has: what is parsed here would have been parsed there.
const STACK_BYTES: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum RightsError {
    #[error("can not start a thread that only reads")]
    Thread(#[source] io::Error),
    #[error("can not give up capabilities")]
    Capabilities(#[from] CapsError),
    #[error("can not give up new privileges")]
    NewPrivileges(#[from] Errno),
}

/// Does the work in a thread that may read what root may, and not write it. Programs that it starts have also the
/// capabilities `of_programs`, which the thread itself does not use.
///
/// # Errors
/// The rights can not be given up; then the work is not done.
pub fn reading<T: Send>(
    of_programs: &[Capability],
    work: impl FnOnce() -> T + Send,
) -> Result<T, RightsError> {
    thread::scope(|scope| {
        let restricted = || give_up(of_programs).map(|()| work());
        let thread = thread::Builder::new()
            .name("reading".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, restricted)
            .map_err(RightsError::Thread)?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// For this thread, and those and the programs that it starts.
fn give_up(of_programs: &[Capability]) -> Result<(), RightsError> {
    let own = caps::read(None, CapSet::Permitted)?;
    let kept = |wanted: &[Capability]| -> CapsHashSet {
        wanted.iter().copied().filter(|capability| own.contains(capability)).collect()
    };
    // Without this a program that root starts would have all of root's rights again.
    prctl::set_no_new_privs()?;
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Effective, &kept(&[NEEDED]))?;
    caps::set(None, CapSet::Permitted, &kept(&[&[NEEDED], of_programs].concat()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    const STATUS: &str = "/proc/thread-self/status";
    /// Numbers of capabilities.
    const READ_SEARCH: u64 = 1 << 2;
    const RAW_IO: u64 = 1 << 17;

    /// Inheritable, permitted and effective capabilities, and whether there are no new privileges.
    fn rights(status: &str) -> [u64; 4] {
        let lines: BTreeMap<_, _> = status.lines().filter_map(|line| line.split_once(":\t")).collect();
        ["CapInh", "CapPrm", "CapEff", "NoNewPrivs"].map(|key| u64::from_str_radix(lines[key], 16).unwrap())
    }

    fn own() -> [u64; 4] {
        rights(&fs::read_to_string(STATUS).unwrap())
    }

    fn of_program() -> [u64; 4] {
        let said = Command::new("cat").arg("/proc/self/status").output().unwrap();
        rights(&String::from_utf8(said.stdout).unwrap())
    }

    #[test]
    fn a_thread_that_reads_has_no_other_rights_and_gets_none_back() {
        let before = own();
        let [_, permitted, ..] = before;
        let (ours, child, program) =
            reading(&[], || (own(), thread::spawn(own).join().unwrap(), of_program())).unwrap();
        let expect = [0, permitted & READ_SEARCH, permitted & READ_SEARCH, 1];
        assert_eq!((ours, child, program), (expect, expect, expect));
        assert_eq!(own(), before, "the thread that waits keeps its own");
        let (ours, program) = reading(&[Capability::CAP_SYS_RAWIO], || (own(), of_program())).unwrap();
        let both = permitted & (READ_SEARCH | RAW_IO);
        assert_eq!(ours, [0, both, permitted & READ_SEARCH, 1]);
        // A program of root's has in effect what it may have.
        let in_effect = if nix::unistd::geteuid().is_root() { both } else { 0 };
        assert_eq!(program[1..3], [in_effect, in_effect]);
    }

    #[test]
    fn another_users_file_is_read_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "theirs").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        if std::os::unix::fs::chown(&path, Some(4321), Some(4321)).is_err() {
            eprintln!("not shown: only root can make another user's file");
            return;
        }
        let (content, written) =
            reading(&[], || (fs::read_to_string(&path), File::options().append(true).open(&path))).unwrap();
        assert_eq!(content.unwrap(), "theirs");
        assert_eq!(written.unwrap_err().kind(), ErrorKind::PermissionDenied);
        File::options().append(true).open(&path).unwrap();
    }

    #[test]
    fn what_the_work_says_and_how_it_ends_is_passed_on() {
        assert_eq!(reading(&[], || 7).unwrap(), 7);
        let panic = std::panic::catch_unwind(|| reading(&[], || panic!("here"))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"here"));
    }
}
