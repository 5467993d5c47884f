//! Landlock: denies access to files by their paths.
//!
//! Files that are open already stay usable, such as the log.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest ABI whose access rights are used. Older kernels enforce the subset that they support.
const LANDLOCK_ABI: ABI = ABI::V6;

/// Denies opening files for writing, creating, removing and executing them. `devices` stay writable. Returns whether the
/// kernel enforces it.
///
/// # Errors
/// The kernel refuses the rules.
pub fn deny_writes(devices: &[PathBuf]) -> Result<bool, RulesetError> {
    let denied = AccessFs::from_write(LANDLOCK_ABI) | AccessFs::Execute;
    let mut ruleset = Ruleset::default().handle_access(denied)?.create()?;
    for path in devices {
        ruleset = allow(ruleset, path, AccessFs::WriteFile | AccessFs::IoctlDev)?;
    }
    enforce(ruleset)
}

/// Denies opening files for writing, creating and removing them, but below `folder`, and executing any. Returns whether
/// the kernel enforces it.
///
/// # Errors
/// The kernel refuses the rules.
pub fn allow_writes_below(folder: &Path) -> Result<bool, RulesetError> {
    let writes = AccessFs::from_write(LANDLOCK_ABI);
    let ruleset = Ruleset::default().handle_access(writes | AccessFs::Execute)?.create()?;
    enforce(allow(ruleset, folder, writes)?)
}

/// Denies everything but reading these files and the files in these folders: also listing folders, listening on TCP
/// ports, abstract sockets and signals to other processes. Returns whether the kernel enforces it.
///
/// A rule names the file that the path has now: one that replaces it is not readable.
///
/// # Errors
/// The kernel refuses the rules.
pub fn allow_reads(readable: &[&str]) -> Result<bool, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK_ABI))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(LANDLOCK_ABI))?
        .create()?;
    for path in readable {
        ruleset = allow(ruleset, Path::new(path), AccessFs::ReadFile.into())?;
    }
    enforce(ruleset)
}

fn enforce(ruleset: RulesetCreated) -> Result<bool, RulesetError> {
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
