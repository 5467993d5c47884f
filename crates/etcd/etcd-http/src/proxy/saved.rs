//! `proxy/cluster` in the data directory: the peer URLs of the last refresh, for the next start.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::limits;

/// Reading or writing the file failed.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not the JSON of a saved cluster")]
    Format { path: PathBuf, source: serde_json::Error },
    #[error("writing {path}")]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(rename = "PeerURLs")]
    peer_urls: Vec<String>,
}

/// The saved peer URLs; `None` at the first start.
pub(super) fn load(path: &Path) -> Result<Option<Vec<String>>, SavedError> {
    let failed = |source| SavedError::Read { path: path.to_owned(), source };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut text = Vec::new();
    file.take(limits::MAX_MEMBER_LIST_BYTES as u64).read_to_end(&mut text).map_err(failed)?;
    let saved: Saved = serde_json::from_slice(&text)
        .map_err(|source| SavedError::Format { path: path.to_owned(), source })?;
    Ok(Some(saved.peer_urls))
}

/// Replaces the file.
pub(super) fn save(path: &Path, peer_urls: &[String]) -> Result<(), SavedError> {
    let failed = |source| SavedError::Write { path: path.to_owned(), source };
    let saved = Saved { peer_urls: peer_urls.to_vec() };
    let text =
        serde_json::to_vec(&saved).map_err(|source| SavedError::Format { path: path.to_owned(), source })?;
    let partial = path.with_extension("partial");
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&partial).map_err(failed)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&partial, path).map_err(failed)
}
