//! Landlock: a thread that opens no file for writing, makes and removes none, and executes none.
//!
//! What is open already stays as it is: the log, and what a caller hands over.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};

/// The newest one whose rights are named here. On an older kernel as many of them count as it knows.
const KNOWN: ABI = ABI::V5;
const DEVICES: &str = "/dev";
const ROOT: &str = "/";

/// Whether the kernel holds this thread to it. It may write to `devices`, and start programs that write to any device.
pub(super) fn only_read(programs: bool, devices: &[PathBuf]) -> Result<bool, RulesetError> {
    let refused = AccessFs::from_write(KNOWN) | AccessFs::Execute;
    let mut ruleset = Ruleset::default().handle_access(refused)?.create()?;
    let device = AccessFs::WriteFile | AccessFs::IoctlDev;
    for path in devices {
        ruleset = allow(ruleset, path, device)?;
    }
    if programs {
        ruleset = allow(ruleset, Path::new(ROOT), AccessFs::Execute.into())?;
        ruleset = allow(ruleset, Path::new(DEVICES), device)?;
    }
    Ok(ruleset.restrict_self()?.ruleset != RulesetStatus::NotEnforced)
}

/// What is not there needs no right.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(path) {
        Ok(file) => ruleset.add_rule(PathBeneath::new(file, access)),
        Err(_) => Ok(ruleset),
    }
}
