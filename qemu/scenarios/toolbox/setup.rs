//! What the parts of the scenario share: settings, paths, and checks.

use machines::machine::Machine;

use super::super::kv::expect_output;
use crate::failure::{Failure, expect};

/// Guest path of the folder with the archive of `image toolbox`.
pub const IMAGES: &str = "/home/core/images";
pub const ARCHIVE: &str = "toolbox.tar.zst";
/// The image in `/usr`: small, an archive of `docker save`.
pub const SMALL: &str = "/usr/share/keelson/images/busybox.tar";
/// Directory of `core`'s toolbox with the default settings.
pub const PATH: &str = "/var/lib/toolbox/core-debian-trixie";

/// Replaces `~/.toolboxrc`.
pub fn configure(machine: &Machine<'_>, settings: &str) -> Result<(), Failure> {
    machine.succeed(&format!(
        "rm -f ~/.toolboxrc && echo '{settings}' >~/.toolboxrc && chmod 644 ~/.toolboxrc"
    ))?;
    Ok(())
}

/// Runs a command that must fail with this exit status and this text.
pub fn refused(machine: &Machine<'_>, command: &str, code: i32, expected: &str) -> Result<(), Failure> {
    let output = machine.execute(command)?;
    let seen = format!("{}, {}{}", output.code, output.stdout, output.stderr);
    let holds = output.code == code && output.stderr.contains(expected);
    expect(holds, &format!("{command} to exit with {code} and {expected:?}"), &seen)
}

/// Neither a toolbox nor files of one exist.
pub fn nothing_left(machine: &Machine<'_>) -> Result<(), Failure> {
    expect_output(machine, "sudo find /var/lib/toolbox -mindepth 1 -maxdepth 2", "")
}
