//! Landlock: denies opening files for writing, creating, removing and executing them.
//!
//! Files that are open already stay writable, such as the log.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, RulesetStatus,
};

/// The newest ABI whose access rights are used. Older kernels enforce the subset that they support.
const LANDLOCK_ABI: ABI = ABI::V5;
const DEVICES: &str = "/dev";
const ROOT: &str = "/";

/// Returns whether the kernel enforces it. `devices` stay writable; with `programs`, so do all devices, and
/// programs may be executed.
pub(super) fn restrict(programs: bool, devices: &[PathBuf]) -> Result<bool, RulesetError> {
    let denied = AccessFs::from_write(LANDLOCK_ABI) | AccessFs::Execute;
    let mut ruleset = Ruleset::default().handle_access(denied)?.create()?;
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

/// A path that does not exist needs no rule.
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
