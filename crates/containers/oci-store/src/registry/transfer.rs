//! The transfer of one blob. A broken one resumes where it ended, also in another process.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use oci_image::Blob;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::client::{Client, transport};
use super::pace::Pace;
use super::url::Url;
use super::{RegistryError, Transfer};
use crate::blob::BlobWriter;
use crate::store::Store;
use crate::store_error::StoreError;

const BUFFER: usize = 1 << 17;
const MAX_PAUSE: Duration = Duration::from_secs(20);

impl Client {
    /// Adds a blob to the store. The caller holds the store's lock.
    pub fn fetch(
        &self,
        store: &Store,
        blob: &Blob,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<(), RegistryError> {
        let _lock = store.named_lock(&format!("blob-{}", blob.digest.hex()))?;
        if store.has_blob(blob) {
            return Ok(());
        }
        let mut writer = store.resume_blob(blob.digest)?;
        // What an earlier process left may be wrong, after a power cut or by another server: then it starts anew, once.
        let mut may_restart = writer.size() > 0;
        loop {
            match self.receive(blob, &mut writer, progress) {
                Err(RegistryError::Range { .. } | RegistryError::Digest { .. }) if may_restart => {
                    may_restart = false;
                    writer.restart()?;
                }
                Err(
                    error @ (RegistryError::Length { .. }
                    | RegistryError::Range { .. }
                    | RegistryError::Digest { .. }),
                ) => {
                    writer.discard()?;
                    return Err(error);
                }
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        store.commit(writer)?;
        Ok(())
    }

    /// Receives the content, in as many attempts as permitted, and checks its digest.
    fn receive(
        &self,
        blob: &Blob,
        writer: &mut BlobWriter,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<(), RegistryError> {
        let (mut failed, mut pause) = (0, self.options.pause);
        loop {
            let before = writer.size();
            match self.attempt(blob, writer, progress) {
                Ok(()) => break,
                Err(error) if error.is_temporary() => {
                    // A byte now and then is no progress.
                    let received = writer.size().saturating_sub(before);
                    failed = if received >= self.options.min_bytes { 1 } else { failed + 1 };
                    if failed >= self.options.attempts {
                        return Err(error);
                    }
                    std::thread::sleep(pause);
                    pause = if failed == 1 { self.options.pause } else { (pause * 2).min(MAX_PAUSE) };
                }
                Err(error) => return Err(error),
            }
        }
        let found = writer.content().digest;
        if found == blob.digest {
            return Ok(());
        }
        let url = self.base.with_path(&format!("/v2/{}/{}", self.reference.repository(), path(blob)));
        Err(RegistryError::Digest { url: url.redacted(), found, expected: blob.digest })
    }

    /// Receives the rest. A stalled transfer ends, and the next attempt uses another connection.
    fn attempt(
        &self,
        blob: &Blob,
        writer: &mut BlobWriter,
        progress: &mut dyn FnMut(Transfer),
    ) -> Result<(), RegistryError> {
        if writer.size() > blob.size {
            writer.restart()?;
        }
        if writer.size() == blob.size {
            return Ok(());
        }
        let range = format!("bytes={}-", writer.size());
        let headers = [("range", range.as_str())];
        let headers = if writer.size() > 0 { headers.as_slice() } else { &[] };
        let (url, response) = self.get(&path(blob), headers)?;
        check_head(&url, &response, blob, writer)?;
        let (options, mut buffer) = (&self.options, vec![0; BUFFER]);
        let mut pace = Pace::new(options.progress_window, options.min_bytes, Instant::now());
        let mut body = response.into_body().into_reader();
        loop {
            let read = body.read(&mut buffer).map_err(|error| transport(&url, &error))?;
            let present = writer.size() + read as u64;
            if present > blob.size {
                let url = url.redacted();
                return Err(RegistryError::Length { url, found: present, expected: blob.size });
            }
            if read == 0 {
                if present == blob.size {
                    return Ok(());
                }
                let reason = format!("the transfer ended after {present} of {} bytes", blob.size);
                return Err(RegistryError::Transport { url: url.redacted(), reason });
            }
            let written = writer.write_all(buffer.get(..read).unwrap_or_default());
            written.map_err(|source| StoreError::System {
                what: "write",
                path: blob.digest.to_string().into(),
                source,
            })?;
            progress(Transfer { digest: blob.digest, present, size: blob.size });
            // The last byte may come in a slow window.
            if present < blob.size && !pace.advance(read, Instant::now()) {
                return Err(RegistryError::Stalled {
                    url: url.redacted(),
                    bytes: options.min_bytes,
                    seconds: options.progress_window.as_secs(),
                    present,
                });
            }
        }
    }
}

fn path(blob: &Blob) -> String {
    format!("blobs/{}", blob.digest)
}

/// Checks status, range and length. A server without ranges starts anew.
fn check_head(
    url: &Url,
    response: &Response<Body>,
    blob: &Blob,
    writer: &mut BlobWriter,
) -> Result<(), RegistryError> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status().as_u16() {
        206 if writer.size() > 0 => {
            let expected = format!("bytes {}-", writer.size());
            if !header(CONTENT_RANGE).is_some_and(|range| range.starts_with(&expected)) {
                return Err(RegistryError::Range { url: url.redacted() });
            }
        }
        200 => writer.restart()?,
        206 | 416 => return Err(RegistryError::Range { url: url.redacted() }),
        status => {
            return Err(RegistryError::Status { url: url.redacted(), status, detail: String::new() });
        }
    }
    let expected = blob.size - writer.size();
    match header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
        Some(found) if found != expected => {
            Err(RegistryError::Length { url: url.redacted(), found, expected })
        }
        _ => Ok(()),
    }
}
