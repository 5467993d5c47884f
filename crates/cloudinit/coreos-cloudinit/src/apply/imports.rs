//! ssh keys from elsewhere. Where they cannot be had the run goes on, and counts as done.

use cloudinit::key_import::KeyImport;
use host::Outcome;

use super::hands::{Hands, Step};

impl Hands<'_> {
    /// Keys that were imported before stay where there is no answer; an answer without keys takes them away.
    pub(super) fn import_keys(&mut self, user: &str, name: &str, import: &KeyImport) -> Step {
        match self.fetcher.keys(import, self.settings.log) {
            Ok(keys) => {
                self.info(format!("Importing {} ssh keys as {name:?} of user '{user}'", keys.len()));
                self.ssh_keys(user, name, &keys)
            }
            Err(error) => {
                let error = service::error::chain(&error);
                self.miss(format!("import ssh keys as {name:?} of user '{user}'"), error);
                Ok(Outcome::Unchanged)
            }
        }
    }
}
