//! Exit codes.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// rkt's own failures; other codes are those of apps.
pub const FAILURE: u8 = 254;
/// Added to the number of the signal that ended a process.
pub const SIGNALED: i32 = 128;

/// A process's status as a shell has it.
pub fn of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILURE)
}
