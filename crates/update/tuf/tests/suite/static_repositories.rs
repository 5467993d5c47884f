//! The suite's `test_static_repositories.py`, with a repository that python-tuf made (`tests/python/make_repository.py`).
//! It has ECDSA and RSA root keys, two rotations, a terminating delegation and one by digests of paths.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tuf::{Fetch, File};

use crate::simulator::*;

/// A repository in a folder. Target files are stored under their own names, as an HTTP server sees them.
pub struct Folder(pub PathBuf);

impl Fetch for &Folder {
    fn fetch(
        &mut self,
        file: File<'_>,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        let path = match file {
            File::Metadata(path) => self.0.join("metadata").join(path),
            File::Target(path) => {
                self.0.join("targets").join(percent_decode_str(path).decode_utf8()?.as_ref())
            }
        };
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes.into_iter().take(max_bytes.saturating_add(1).try_into()?).collect())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The targets of the repository, and the role of each.
pub const MADE_BY_PYTHON: [(&str, &str, &str); 4] = [
    ("top.txt", "top", "targets"),
    ("both.txt", "both", "targets"),
    ("releases/1.2.3/a b.raw", "delegated", "channel/alpha"),
    ("anything", "binned", "?bin"),
];

/// Downloads all targets of a repository of `make_repository.py`.
pub fn read_all(folder: &Folder) {
    let first = std::fs::read(folder.0.join("first.root.json")).unwrap();
    let mut machine = Machine::with_root(&first);
    for (path, content, role) in MADE_BY_PYTHON {
        assert_eq!(machine.find(folder, path).unwrap().unwrap().role, role);
        machine.download(folder, path).unwrap();
        assert_eq!(machine.downloaded[path], content.as_bytes());
    }
    assert_eq!(machine.versions(), [3, 1, 1, 1]);
    // A terminating delegation: no other role describes its paths, though the second role covers all.
    assert_eq!(machine.find(folder, "releases/1.2.3/other").unwrap(), None);
    assert_eq!(machine.find(folder, "other").unwrap(), None);
}

#[test]
fn static_repository_of_python_tuf() {
    read_all(&Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/repository")));
}
