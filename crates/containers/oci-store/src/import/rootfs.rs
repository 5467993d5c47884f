//! Archives of a root file system: images with one layer and no command.

use std::io::{self, Read, Write as _};

use oci_image::media_type::Compression;
use oci_image::{Layer, Manifest, config};

use super::{Candidate, ImportError, ImportOptions, Imported};
use crate::blob::BlobWriter;
use crate::meter::{Allowance, Meter};
use crate::store::Store;
use crate::store_error::StoreError;

const MAX_HEADERS: u64 = 1 << 20;
const MAGIC: u64 = 8;

/// Writes what is read to a blob, too.
struct Tee<'a, R> {
    inner: R,
    blob: &'a mut BlobWriter,
    left: u64,
}

impl<R: Read> Read for Tee<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other("more bytes than permitted"))?;
        self.blob.write_all(into.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

impl Store {
    /// Imports a tar archive, plain or compressed by gzip or zstd, as the only layer of an image for `architecture` (as Go
    /// names it). It is stored as it is. The image's id depends on the archive and the architecture only.
    ///
    /// # Errors
    /// It is no archive, exceeds the limit, or is not trusted.
    pub fn import_rootfs(
        &self,
        archive: impl Read + Send,
        architecture: &str,
        options: &ImportOptions<'_>,
    ) -> Result<Imported, ImportError> {
        let _lock = self.shared_lock()?;
        let mut writer = self.blob_writer()?;
        let mut tee = Tee { inner: archive, blob: &mut writer, left: options.bytes };
        let mut start = Vec::new();
        tee.by_ref().take(MAGIC).read_to_end(&mut start).map_err(ImportError::Archive)?;
        let compression = Compression::of_magic(&start);
        let diff_id = {
            let data = self
                .decompression()
                .detect(io::Cursor::new(start).chain(&mut tee))
                .map_err(ImportError::Archive)?;
            let allowance = Allowance::new(options.bytes);
            let mut archive = tar::Archive::new(Meter::new(data, &allowance));
            read_all(&mut archive, &allowance).map_err(ImportError::Archive)?;
            archive.into_inner().finish().map_err(ImportError::Archive)?
        };
        // What follows the compressed data belongs to the file.
        io::copy(&mut tee, &mut io::sink()).map_err(ImportError::Archive)?;
        let blob = self.commit(writer)?;
        let config = self.add_bytes(&config::of_rootfs(architecture, diff_id))?;
        let manifest = Manifest { config, layers: vec![Layer { blob, compression }] };
        let manifest = self.add_bytes(&manifest.to_json())?.digest;
        let candidate = Candidate { manifest, index: None, names: Vec::new() };
        let imported = self.add_candidates(vec![candidate], options)?;
        let first = imported.into_iter().next();
        first.ok_or_else(|| ImportError::Store(StoreError::NoImage(manifest.to_string())))
    }
}

/// Reads the archive as unpacking will; it must have an entry.
fn read_all<R: Read>(archive: &mut tar::Archive<R>, allowance: &Allowance) -> io::Result<()> {
    let mut entries = archive.entries()?;
    let mut count = 0u64;
    loop {
        allowance.limit_headers(MAX_HEADERS);
        let Some(entry) = entries.next() else { break };
        let mut entry = entry?;
        allowance.lift();
        io::copy(&mut entry, &mut io::sink())?;
        count += 1;
    }
    if count == 0 { Err(io::Error::other("the archive is empty")) } else { Ok(()) }
}
