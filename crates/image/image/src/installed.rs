//! The packages of an image with their source packages, for reports of vulnerabilities.

use security_tracker::{Installed, SourceError, StatusError, read_status};

use crate::lock::{Lock, Package, Tree};
use crate::unpack::status::PATH as STATUS;
use crate::verify::{Disk, VerifyError};

#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    #[error(transparent)]
    Disk(#[from] VerifyError),
    #[error("the image has no /{STATUS}: it is older than that file, or its /usr is damaged")]
    NoStatus,
    #[error("the image's /{STATUS} is malformed")]
    Status(#[from] StatusError),
}

/// The packages of slot A's `/usr`.
pub fn of_disk(disk: &Disk) -> Result<Vec<Installed>, InstalledError> {
    let status = disk.usr_file(STATUS.trim_start_matches("usr"))?;
    if status.is_empty() { Err(InstalledError::NoStatus) } else { Ok(read_status(&status)?) }
}

/// The node's packages according to the lock. Entries without a `source` have the source package whose folder of the
/// pool contains them, in the version without a suffix for rebuilds.
pub fn of_lock(lock: &Lock) -> Result<Vec<Installed>, SourceError> {
    lock.of(Tree::System).map(installed).collect()
}

fn installed(package: &Package) -> Result<Installed, SourceError> {
    let Package { name, version, source, path, .. } = package;
    // `pool/main/b/bash/bash_5.2-1_amd64.deb`
    let folder = path.rsplit('/').nth(1).unwrap_or(name);
    let source = source.clone().unwrap_or_else(|| format!("{folder} ({})", without_rebuild(version)));
    Installed::new(name, version, Some(&source))
}

/// The version without `+b1`, which marks a rebuild of the same source.
fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((source, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            source
        }
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_locks_or_that_of_the_pool() {
        let check = |source: Option<&str>, version: &str, expect: (&str, &str)| {
            let package = Package {
                name: "libc6".into(),
                version: version.into(),
                architecture: "amd64".into(),
                source: source.map(str::to_owned),
                path: "pool/updates/main/g/glibc/libc6.deb".into(),
                size: 0,
                sha256: String::new(),
                trees: vec![Tree::System],
            };
            let installed = installed(&package).unwrap();
            assert_eq!((&*installed.source, &*installed.source_version), expect);
            assert_eq!((&*installed.package, &*installed.version), ("libc6", version));
        };
        check(None, "2.41-1", ("glibc", "2.41-1"));
        check(None, "2.41-1+b12", ("glibc", "2.41-1"));
        check(None, "2.41-1+bpo1", ("glibc", "2.41-1+bpo1"));
        check(None, "2.41-1+b", ("glibc", "2.41-1+b"));
        check(Some("eglibc"), "2.41-1", ("eglibc", "2.41-1"));
        check(Some("eglibc (2.40)"), "2.41-1+b1", ("eglibc", "2.40"));
    }
}
