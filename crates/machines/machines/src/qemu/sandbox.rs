//! Starts QEMU with its seccomp filter, and without it where QEMU or the kernel does not support that.

use crate::backend::BackendError;
use crate::process::Process;

/// Starts QEMU by `start`, which gets whether with the filter and returns when QEMU responds. `warn` gets the reason if
/// the filter is missing.
pub fn start_confined(
    mut start: impl FnMut(bool) -> Result<Process, BackendError>,
    warn: impl FnOnce(&str),
) -> Result<Process, BackendError> {
    match start(true) {
        Err(BackendError::Ended { message, .. }) if lacks_seccomp(&message) => {
            let process = start(false)?;
            warn(&message);
            Ok(process)
        }
        started => started,
    }
}

/// Whether QEMU rejects the option: it is built without seccomp or without a part of it, or the kernel has none.
fn lacks_seccomp(message: &str) -> bool {
    message.contains(": -sandbox ") || message.contains("seccomp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_qemu_without_seccomp_is_started_without_the_filter() {
        let check = |message: &str, starts: bool| {
            let (mut tried, mut warned) = (Vec::new(), Vec::new());
            let start = |confined: bool| {
                tried.push(confined);
                match confined {
                    false => Ok(Process { pid: 1, started: 1 }),
                    true => Err(BackendError::Ended {
                        program: "qemu",
                        message: message.into(),
                        log: "log".into(),
                    }),
                }
            };
            let started = start_confined(start, |reason| warned.push(reason.to_owned()));
            assert_eq!(started.is_ok(), starts, "{message}");
            assert_eq!(tried, if starts { vec![true, false] } else { vec![true] });
            assert_eq!(warned, if starts { vec![message] } else { vec![] });
        };
        check("qemu-system-x86_64: -sandbox on: -sandbox support is not enabled in this QEMU binary", true);
        check("qemu-system-x86_64: -sandbox on,spawn=deny: There is no option group 'sandbox'", true);
        check("failed to install seccomp syscall filter in the kernel: Operation not permitted", true);
        check("qemu-system-x86_64: -drive file=/srv/my-sandbox/disk: Could not open it", false);
        check("(nothing)", false);
    }

    #[test]
    fn qemu_with_seccomp_is_started_once() {
        let mut tried = Vec::new();
        let process = Process { pid: 1, started: 1 };
        let start = |confined: bool| {
            tried.push(confined);
            Ok(process)
        };
        assert_eq!(start_confined(start, |reason| panic!("{reason}")).unwrap(), process);
        assert_eq!(tried, [true]);
    }
}
