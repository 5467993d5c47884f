//! The keys of a machine: `DIRECTORY/PREFIX/*.pub`, where PREFIX is the beginning of an image's name. On a node the
//! directory is `/etc/rkt/trustedkeys/prefix.d`, and `quay.io/coreos/team.pub` is trusted for all of `quay.io/coreos`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oci_image::Reference;
use oci_image::signature::{KeyError, Trust, prefixes};

/// Bytes of a file with a key.
pub const MAX_KEY: u64 = 16 << 10;
/// Folders of a prefix.
const MAX_DEPTH: usize = 16;
const MAX_KEYS: usize = 256;
const EXTENSION: &str = "pub";

/// Which images are accepted.
#[derive(Clone, Copy)]
pub enum TrustPolicy<'a> {
    /// Those that one of these keys signed.
    Require(&'a Trust),
    /// All of them: `--insecure-options=image`.
    Insecure,
}

/// Why keys cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum TrustStoreError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("more than {MAX_KEYS} keys in {0}")]
    Many(PathBuf),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads the keys that are trusted for an image, from several directories.
///
/// # Errors
/// A key cannot be read, or is none.
pub fn read_trust(directories: &[&Path], name: &Reference) -> Result<Trust, TrustStoreError> {
    let mut trust = Trust::default();
    for directory in directories {
        read_directory(directory, name, &mut trust)?;
    }
    Ok(trust)
}

fn read_directory(directory: &Path, name: &Reference, trust: &mut Trust) -> Result<(), TrustStoreError> {
    for prefix in prefixes(name) {
        if read_keys(&directory.join(&prefix), &prefix, trust)?.is_none() {
            break;
        }
    }
    Ok(())
}

/// Reads the keys for all images, each for its prefix: the names in an archive are known only after its import.
///
/// # Errors
/// A key cannot be read, or is none.
pub fn read_all_trust(directories: &[&Path]) -> Result<Trust, TrustStoreError> {
    let mut trust = Trust::default();
    for directory in directories {
        read_below(directory, "", 0, &mut trust)?;
    }
    Ok(trust)
}

fn read_below(folder: &Path, prefix: &str, depth: usize, trust: &mut Trust) -> Result<(), TrustStoreError> {
    for name in read_keys(folder, prefix, trust)?.unwrap_or_default() {
        let below = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        if depth < MAX_DEPTH {
            read_below(&folder.join(&name), &below, depth + 1, trust)?;
        }
    }
    Ok(())
}

/// Reads the keys of a prefix, and returns the names of the folders beside them. `None`: there is no such folder.
fn read_keys(folder: &Path, prefix: &str, trust: &mut Trust) -> Result<Option<Vec<String>>, TrustStoreError> {
    let failed = |source| TrustStoreError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(failed(source)),
    };
    let (mut keys, mut folders) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            folders.push(entry.file_name().to_string_lossy().into_owned());
        } else if path.extension().is_some_and(|extension| extension == EXTENSION) && !path.is_dir() {
            keys.push(path);
        }
        if keys.len() > MAX_KEYS {
            return Err(TrustStoreError::Many(folder.to_owned()));
        }
    }
    keys.sort();
    folders.sort();
    // A key without a prefix would sign any image.
    for path in keys.into_iter().filter(|_| !prefix.is_empty()) {
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(MAX_KEY).read_to_string(&mut text));
        read.map_err(|source| TrustStoreError::Read { path: path.clone(), source })?;
        trust.add(prefix, &path.display().to_string(), &text)?;
    }
    Ok(Some(folders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_image::Digest;
    use oci_image::signature::Signatures;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn keys_are_read_along_the_name() {
        let check = |files: &[(&str, &str)], expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = folder.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let name: Reference = "quay.io/coreos/etcd:v3".parse().unwrap();
            let result = match read_trust(&[folder.path()], &name) {
                Ok(trust) => {
                    trust.verify(&name, Digest::of(b""), &Signatures::default()).unwrap_err().to_string()
                }
                Err(error) => error.to_string(),
            };
            assert!(result.contains(expected), "{files:?}: {result}");
        };
        check(&[], "no key is trusted");
        check(&[("quay.io/a.pub", KEY)], "has no signature");
        check(&[("quay.io/coreos/etcd/a.pub", KEY)], "has no signature");
        check(&[("quay.io/core/a.pub", KEY)], "no key is trusted");
        check(&[("quay.io/a.txt", KEY)], "no key is trusted");
        check(&[("quay.io/coreos/a.pub", "nonsense")], "quay.io/coreos/a.pub: ");
    }

    #[test]
    fn all_keys_are_read_for_their_prefixes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("quay.io/coreos/a.pub", KEY);
        // It is for no prefix.
        write("b.pub", "nonsense");
        let trust = read_all_trust(&[folder.path(), &folder.path().join("absent")]).unwrap();
        let reason = |name: &str| {
            let verified = trust.verify(&name.parse().unwrap(), Digest::of(b""), &Signatures::default());
            verified.unwrap_err().to_string()
        };
        assert!(reason("quay.io/coreos/etcd:v3").contains("has no signature"));
        assert!(reason("quay.io/other:1").contains("no key is trusted"));
        write("docker.io/library/c.pub", "nonsense");
        let error = read_all_trust(&[folder.path()]).err().unwrap().to_string();
        assert!(error.contains("docker.io/library/c.pub: "), "{error}");
    }
}
