//! Sources of a release: a server, a folder or a bundle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use release::FileName;
use update_worker::Isolation;

use crate::error::{Failure, Kind};
use crate::http::{HttpClient, RetryPolicy};

pub enum Origin {
    /// Base URLs, in order of preference.
    Server {
        http: HttpClient,
        code_bases: Vec<String>,
    },
    Folder(PathBuf),
    /// An uncompressed tar file of such a folder.
    Bundle(PathBuf),
}

impl Origin {
    /// Files below a URL.
    #[must_use]
    pub fn at_url(url: &str, retry: RetryPolicy, isolation: &Isolation) -> Self {
        Self::Server { http: HttpClient::new(retry, None, isolation), code_bases: vec![url.to_owned()] }
    }

    /// A local folder or bundle.
    pub fn at_path(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        Ok(if path.metadata()?.is_dir() { Self::Folder(path) } else { Self::Bundle(path) })
    }

    /// As [`Origin::file`]; `None` if the folder or bundle does not contain the file, or the server responds so.
    pub fn file_if_exists(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
        if !matches!(self, Self::Server { .. }) && self.open(name).is_err() {
            return Ok(None);
        }
        match self.file(name, limit) {
            Err(failure) if failure.http_status == Some(404) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Fetches a file of at most `limit` bytes: metadata, or a payload's index.
    pub fn file(&self, name: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let failed =
            |message: String| Failure::text(Kind::Transient, omaha::ErrorCode::DOWNLOAD_TRANSFER, message);
        match self {
            Self::Server { http, code_bases } => {
                let mut last = failed("the server's offer contains no URL".to_owned());
                for base in code_bases {
                    match http.get(&omaha::file_url(base, name), limit) {
                        Ok(bytes) => return Ok(bytes),
                        Err(error) => {
                            last = failed(service::error::chain(&error));
                            last.http_status = error.status();
                        }
                    }
                }
                Err(last)
            }
            Self::Folder(path) | Self::Bundle(path) => {
                let mut bytes = Vec::new();
                let (file, length) = self
                    .open(name)
                    .map_err(|error| failed(format!("cannot read {name} in {}: {error}", path.display())))?;
                if length > limit {
                    return Err(failed(format!("{name} in {} has more than {limit} bytes", path.display())));
                }
                let read = file.take(length).read_to_end(&mut bytes);
                read.map_err(|error| failed(format!("cannot read {name} in {}: {error}", path.display())))?;
                Ok(bytes)
            }
        }
    }

    /// Opens a file of a folder or bundle. Returns its length, too.
    fn open(&self, name: &str) -> io::Result<(File, u64)> {
        match self {
            Self::Server { .. } => Err(io::ErrorKind::Unsupported.into()),
            Self::Folder(path) => {
                let file = File::open(path.join(name))?;
                let length = file.metadata()?.len();
                Ok((file, length))
            }
            Self::Bundle(path) => {
                let mut archive = tar::Archive::new(File::open(path)?);
                for entry in archive.entries_with_seek()? {
                    let entry = entry?;
                    let found = entry.path()?;
                    if found.file_name().is_some_and(|file| file == name) {
                        let (begin, length) = (entry.raw_file_position(), entry.size());
                        let mut file = File::open(path)?;
                        file.seek(SeekFrom::Start(begin))?;
                        return Ok((file, length));
                    }
                }
                Err(io::Error::new(io::ErrorKind::NotFound, "no such member in the archive"))
            }
        }
    }

    /// A payload's blob. `cancelled` is called between attempts.
    pub fn blob<'a>(
        &'a self,
        name: &'a FileName,
        cancelled: &'a (dyn Fn() -> bool + Sync),
    ) -> BlobSource<'a> {
        BlobSource { origin: self, name, base: 0, open: None, cancelled }
    }
}

/// Reads ranges of a blob.
pub struct BlobSource<'a> {
    origin: &'a Origin,
    name: &'a FileName,
    /// Index of the current base URL.
    base: usize,
    /// For a folder or bundle: the file, and the blob's offset in it.
    open: Option<(File, u64)>,
    cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl BlobSource<'_> {
    /// Switches to the next base URL, after wrong data or a failure.
    pub fn next_base(&mut self) {
        self.base += 1;
    }
}

impl payload::Source for BlobSource<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let Origin::Server { http, code_bases } = self.origin else {
            let (file, begin) = match &mut self.open {
                Some(open) => open,
                none => {
                    let (mut file, _) = self.origin.open(self.name.as_str())?;
                    let begin = file.stream_position()?;
                    none.insert((file, begin))
                }
            };
            file.seek(SeekFrom::Start(*begin + range.start))?;
            return Ok(Box::new(file.take(range.end - range.start)));
        };
        let base = code_bases.get(self.base % code_bases.len().max(1)).ok_or(io::ErrorKind::NotFound)?;
        Ok(http.range(&omaha::file_url(base, self.name.as_str()), range, self.cancelled))
    }
}
