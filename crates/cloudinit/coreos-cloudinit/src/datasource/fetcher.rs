//! Fetches SSH keys and file contents that the config refers to (contract 2.3, 2.6).

use std::time::Duration;

use cloudinit::file_source::FileSource;
use cloudinit::key_import::{KeyImport, parse_keys};
use cloudinit::limits::{MAX_FILE_BYTES, MAX_METADATA_BYTES};

use super::error::DatasourceError;
use super::http::{Client, Header};
use super::retry::RetryPolicy;
use super::url::Url;
use crate::log::Log;
use crate::rights::{self, ExtraRights};

const GITHUB: &str = "https://api.github.com";
/// For tests: replaces GitHub's API.
const GITHUB_ENV: &str = "COREOS_CLOUDINIT_TEST_GITHUB";
/// Limit of one fetch, retries included.
const LIMIT: Duration = Duration::from_secs(60);
/// Limit of all fetches of a run: the rest of the config must still be applied.
const TOTAL_LIMIT: Duration = Duration::from_secs(2 * 60);

/// Fetches one URL at a time, within a total limit.
#[derive(Debug, Default)]
pub struct Fetcher {
    elapsed: Duration,
}

impl Fetcher {
    /// # Errors
    /// The keys are not found, the time is over, or the response is too large or no list of keys.
    pub fn keys(&mut self, import: &KeyImport, log: &Log) -> Result<Vec<String>, DatasourceError> {
        let url = match import {
            KeyImport::GitHub(account) => {
                let api = std::env::var(GITHUB_ENV).unwrap_or_else(|_| GITHUB.to_owned());
                Url::new(&api).append_path(&KeyImport::path(account))
            }
            KeyImport::Url(url) => Url::new(url),
        };
        let answer = self.fetch(&url, &[], MAX_METADATA_BYTES, log)?;
        Ok(rights::parse_only(log, || parse_keys(&answer))??)
    }

    /// The content, unchanged.
    ///
    /// # Errors
    /// It is not found, the time is over, or it is too large.
    pub fn file(&mut self, source: &FileSource, log: &Log) -> Result<Vec<u8>, DatasourceError> {
        let headers: Vec<_> = source.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.fetch(&Url::new(&source.url), &headers, MAX_FILE_BYTES, log)
    }

    fn fetch(
        &mut self,
        url: &Url,
        headers: &[Header],
        max_bytes: usize,
        log: &Log,
    ) -> Result<Vec<u8>, DatasourceError> {
        if self.elapsed >= TOTAL_LIMIT {
            return Err(DatasourceError::Slow(TOTAL_LIMIT));
        }
        // This runs while the plan is applied, with all rights; fetching needs none of them.
        let (answer, elapsed) = rights::read_only(&ExtraRights::default(), log, || {
            let client = Client::new(url, RetryPolicy::Retry, LIMIT, log)?;
            let answer = client.get(url, headers, max_bytes);
            Ok::<_, DatasourceError>((answer, client.elapsed()))
        })??;
        self.elapsed += elapsed;
        answer
    }
}
