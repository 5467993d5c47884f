//! Fetches the keys of users from where the config says (contract 2.3).

use std::time::Duration;

use cloudinit::key_import::KeyImport;
use cloudinit::limits::MAX_METADATA_BYTES;

use super::error::DatasourceError;
use super::http::Client;
use super::patience::Patience;
use super::url::Url;
use crate::log::Log;
use crate::rights;

const GITHUB: &str = "https://api.github.com";
/// For tests only: who is asked in place of GitHub.
const GITHUB_VARIABLE: &str = "COREOS_CLOUDINIT_TEST_GITHUB";
/// One answer, with all attempts.
const LIMIT: Duration = Duration::from_secs(60);
/// Once so much time went by, no further answer is waited for: the rest of the config has to be applied, too.
const LIMIT_OF_ALL: Duration = Duration::from_secs(2 * 60);

/// Fetches one after the other.
#[derive(Debug, Default)]
pub struct KeyFetcher {
    spent: Duration,
}

impl KeyFetcher {
    /// The answer as it came.
    ///
    /// # Errors
    /// It is not there, can not be had in time, or is too large.
    pub fn fetch(&mut self, import: &KeyImport, log: &Log) -> Result<Vec<u8>, DatasourceError> {
        if self.spent >= LIMIT_OF_ALL {
            return Err(DatasourceError::Slow(LIMIT_OF_ALL));
        }
        // Asked while the plan is applied, with all rights; for this none are needed.
        let (answer, spent) = rights::reading(&[], || {
            let (url, client) = client(import, log)?;
            let answer = client.get(&url, &[], MAX_METADATA_BYTES);
            Ok::<_, DatasourceError>((answer, client.spent()))
        })??;
        self.spent += spent;
        answer
    }
}

fn client(import: &KeyImport, log: &Log) -> Result<(Url, Client), DatasourceError> {
    let url = match import {
        KeyImport::GitHub(account) => {
            let api = std::env::var(GITHUB_VARIABLE).unwrap_or_else(|_| GITHUB.to_owned());
            Url::new(&api).below(&KeyImport::path(account))
        }
        KeyImport::Url(url) => Url::new(url),
    };
    let client = Client::new(&url, Patience::Wait, LIMIT, log)?;
    Ok((url, client))
}
