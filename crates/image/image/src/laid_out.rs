//! What is made of a version that was built elsewhere: its disk, and its `/usr` as a folder. Each is made once, and looked
//! at before it is used again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sandbox::Sandbox;

use crate::build::BuildError;
use crate::disk::{DiskError, Layout, lay_out};
use crate::recipe::DISK;
use crate::sparse;
use crate::tool::{command, run};
use crate::tree::{self, At, TreeError, put, remove};
use crate::work::{Key, Work};

const RAW: &str = "disk.raw";
const TREE: &str = "usr";
/// What the result was when it was made.
const DIGEST: &str = "digest";

/// The disk in `work`. `parts` names the content of all that `layout` names by its path but the checkout's; what is
/// there and not what was made is made again.
pub fn disk(layout: &Layout<'_>, parts: Key, work: &Work) -> Result<PathBuf, BuildError> {
    let key = parts.with(DISK).with(layout.channel).with_path(&layout.checkout.join("image"))?;
    let digest = |place: &Path| {
        let raw = place.join(RAW);
        sparse::digest(&raw).at(&raw)
    };
    let place = looked_at(work, "disk", &key, digest, |folder| lay_out(layout, folder))?;
    Ok(place.join(RAW))
}

/// A folder with `usr`, unpacked from the file system `erofs`, whose content `parts` names.
pub fn usr_tree(erofs: &Path, parts: &Key, tools: &Sandbox, work: &Work) -> Result<PathBuf, BuildError> {
    let unpack = |folder: &Path| {
        let to = format!("--extract={}", folder.join(TREE).display());
        run(command(tools, "fsck.erofs")?.arg(to).arg(erofs))?;
        Ok(())
    };
    looked_at(work, "tree", parts, |place| tree::digest(&place.join(TREE)), unpack)
}

/// The tools tree at `tools`, with `shared` folders of the host.
pub fn sandbox(tools: &Path, shared: &[&Path]) -> Result<Sandbox, BuildError> {
    Ok(shared.iter().fold(Sandbox::new(tools)?, |sandbox, folder| sandbox.share(*folder)))
}

fn looked_at(
    work: &Work,
    kind: &str,
    key: &Key,
    digest: impl Fn(&Path) -> Result<String, TreeError>,
    make: impl Fn(&Path) -> Result<(), DiskError>,
) -> Result<PathBuf, BuildError> {
    let made = |folder: &Path| -> Result<(), DiskError> {
        make(folder)?;
        Ok(put(&folder.join(DIGEST), digest(folder)?.as_bytes(), 0o644)?)
    };
    let (place, was_there) = work.result(kind, key, made)?;
    let is_whole = || match fs::read_to_string(place.join(DIGEST)) {
        Ok(noted) => Ok(digest(&place)? == noted),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at(&place),
    };
    if was_there && !is_whole()? {
        remove(&place)?;
        return Ok(work.result(kind, key, made)?.0);
    }
    Ok(place)
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
        let look = || {
            let make = |folder: &Path| {
                made.set(made.get() + 1);
                Ok(put(&folder.join("a"), b"content", 0o644)?)
            };
            looked_at(&work, "kind", &Key::new("k"), |place| tree::digest(&place.join("a")), make).unwrap()
        };
        let place = look();
        look();
        assert_eq!(made.get(), 1);
        for (file, content) in [("a", "Content"), (DIGEST, "")] {
            fs::write(place.join(file), content).unwrap();
            look();
            assert_eq!(fs::read_to_string(place.join("a")).unwrap(), "content");
        }
        fs::remove_file(place.join(DIGEST)).unwrap();
        look();
        assert_eq!(made.get(), 4);
    }
}
