//! Releases packed once by each build of a test program: packing takes seconds, and each test is a process of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use release::{Release, files};
use release_folder::{BuiltRelease, create_unencrypted, targets_status};
use update_core::repository::TARGETS_FILE;

use crate::build::{BUILT, copy, release};
use crate::images::Images;

/// Versions of the releases.
pub const OLD: &str = "2.0.0";
pub const NEW: &str = "3.0.0";

/// Folders of [`folder`].
pub const KEYS: &str = "keys";
pub const WITH_DELTA: &str = "with-delta";
pub const FULL_ONLY: &str = "full-only";

/// The packed releases. They are not to be changed: copy them.
pub fn folder() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let modified = fs::metadata(&program).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    // Beside the program's folder: `cargo clean` removes it.
    let all = program.ancestors().nth(2).unwrap().join("folder-machine").join(name);
    fs::create_dir_all(&all).unwrap();
    let lock = File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    let complete = all.join(modified.as_nanos().to_string());
    if !complete.exists() {
        // Those of former builds, and of a process that was killed.
        for entry in fs::read_dir(&all).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        let new = all.join("new");
        pack(&new);
        fs::rename(&new, &complete).unwrap();
    }
    complete
}

fn pack(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let at = |name: &str| folder.join(name);
    let keys = at(KEYS);
    create_unencrypted(&keys, "test", BUILT * 2).unwrap();
    let [old, new] = [OLD, NEW].map(Images::new);
    let oldest = release(&old, &keys, &[], &at("old"));
    // A list has one release of a version.
    let others = at("keys-delta");
    copy(&keys, &others);
    release(&new, &others, &[oldest.folder], &at(WITH_DELTA));
    release(&new, &keys, &[], &at(FULL_ONLY));
}

/// A release in its folder.
pub fn read(folder: PathBuf) -> BuiltRelease {
    let release = Release::parse(&fs::read(folder.join(files::RELEASE)).unwrap()).unwrap();
    let targets = targets_status(&folder.join(TARGETS_FILE)).unwrap();
    BuiltRelease { folder, release, targets }
}
