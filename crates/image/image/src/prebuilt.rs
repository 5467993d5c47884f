//! The disk and the unpacked `/usr` of a version that was built elsewhere. Results are cached, and verified before
//! they are reused.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::build::BuildError;
use crate::disk::{DiskError, Layout, write_disk};
use crate::recipe::DISK;
use crate::sparse;
use crate::tool::{command, run};
use crate::tree::{self, PathContext, TreeError, remove, write_file};
use crate::work::{Key, Work};

const RAW: &str = "disk.raw";
const TREE: &str = "usr";
const DIGEST: &str = "digest";

/// The disk in `work`. `parts` must identify the content of all paths in `layout` except the checkout's. A damaged
/// result is created again.
pub fn disk(layout: &Layout<'_>, parts: Key, work: &Work) -> Result<PathBuf, BuildError> {
    let key = parts.with(DISK).with(layout.channel).with_path(&layout.checkout.join("image"))?;
    let digest = |result: &Path| {
        let raw = result.join(RAW);
        sparse::digest(&raw).at(&raw)
    };
    let result = verified_result(work, "disk", &key, digest, |folder| write_disk(layout, folder))?;
    Ok(result.join(RAW))
}

/// A folder with `usr`, unpacked from `erofs`, whose content `parts` identifies.
pub fn usr_tree(erofs: &Path, parts: &Key, tools: &Sandbox, work: &Work) -> Result<PathBuf, BuildError> {
    let unpack = |folder: &Path| {
        let to = format!("--extract={}", folder.join(TREE).display());
        run(command(tools, "fsck.erofs")?.arg(to).arg(erofs))?;
        Ok(())
    };
    verified_result(work, "tree", parts, |result| tree::digest(&result.join(TREE)), unpack)
}

/// A sandbox of the tools tree at `tools` with `shared` folders of the host.
pub fn sandbox(tools: &Path, shared: &[&Path]) -> Result<Sandbox, BuildError> {
    Ok(shared.iter().fold(Sandbox::new(tools)?, |sandbox, folder| sandbox.share(*folder)))
}

fn verified_result(
    work: &Work,
    kind: &str,
    key: &Key,
    digest: impl Fn(&Path) -> Result<String, TreeError>,
    make: impl Fn(&Path) -> Result<(), DiskError>,
) -> Result<PathBuf, BuildError> {
    let make_with_digest = |folder: &Path| -> Result<(), DiskError> {
        make(folder)?;
        Ok(write_file(&folder.join(DIGEST), digest(folder)?.as_bytes(), 0o644)?)
    };
    let (result, cached) = work.result(kind, key, make_with_digest)?;
    let is_intact = || match fs::read_to_string(result.join(DIGEST)) {
        Ok(recorded) => Ok(digest(&result)? == recorded),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at(&result),
    };
    if cached && !is_intact()? {
        remove(&result)?;
        return Ok(work.result(kind, key, make_with_digest)?.0);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn what_is_not_as_it_was_made_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let work = Work::open(folder.path(), &AtomicBool::new(false), |_| ()).unwrap();
        let made = Cell::new(0);
        let get = || {
            let make = |folder: &Path| {
                made.set(made.get() + 1);
                Ok(write_file(&folder.join("a"), b"content", 0o644)?)
            };
            verified_result(&work, "kind", &Key::new("k"), |result| tree::digest(&result.join("a")), make)
                .unwrap()
        };
        let result = get();
        get();
        assert_eq!(made.get(), 1);
        for (file, content) in [("a", "Content"), (DIGEST, "")] {
            fs::write(result.join(file), content).unwrap();
            get();
            assert_eq!(fs::read_to_string(result.join("a")).unwrap(), "content");
        }
        fs::remove_file(result.join(DIGEST)).unwrap();
        get();
        assert_eq!(made.get(), 4);
    }
}
