//! Fetches keys of users and contents of files from where the config says (contract 2.3, 2.6).

use std::time::Duration;

use cloudinit::file_source::FileSource;
use cloudinit::key_import::{KeyImport, read_keys};
use cloudinit::limits::{MAX_FILE_BYTES, MAX_METADATA_BYTES};

use super::error::DatasourceError;
use super::http::{Client, Header};
use super::patience::Patience;
use super::url::Url;
use crate::log::Log;
use crate::rights::{self, Needs};

const GITHUB: &str = "https://api.github.com";
/// For tests only: who is asked in place of GitHub.
const GITHUB_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_GITHUB";
/// One answer, with all attempts.
const LIMIT: Duration = Duration::from_secs(60);
/// Once so much time went by, no further answer is waited for: the rest of the config has to be applied, too.
const LIMIT_OF_ALL: Duration = Duration::from_secs(2 * 60);

/// Fetches one after the other.
#[derive(Debug, Default)]
pub struct Fetcher {
    spent: Duration,
}

impl Fetcher {
    /// # Errors
    /// The answer is not there, cannot be had in time, is too large, or is no list of keys.
    pub fn keys(&mut self, import: &KeyImport, log: &Log) -> Result<Vec<String>, DatasourceError> {
        let url = match import {
            KeyImport::GitHub(account) => {
                let api = std::env::var(GITHUB_VARIABLE).unwrap_or_else(|_| GITHUB.to_owned());
                Url::new(&api).below(&KeyImport::path(account))
            }
            KeyImport::Url(url) => Url::new(url),
        };
        let answer = self.fetch(&url, &[], MAX_METADATA_BYTES, log)?;
        Ok(rights::parsing(log, || read_keys(&answer))??)
    }

    /// The content as it came.
    ///
    /// # Errors
    /// It is not there, cannot be had in time, or is too large.
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
        if self.spent >= LIMIT_OF_ALL {
            return Err(DatasourceError::Slow(LIMIT_OF_ALL));
        }
        // Asked while the plan is applied, with all rights; for this none are needed.
        let (answer, spent) = rights::reading(&Needs::default(), log, || {
            let client = Client::new(url, Patience::Wait, LIMIT, log)?;
            let answer = client.get(url, headers, max_bytes);
            Ok::<_, DatasourceError>((answer, client.spent()))
        })??;
        self.spent += spent;
        answer
    }
}
