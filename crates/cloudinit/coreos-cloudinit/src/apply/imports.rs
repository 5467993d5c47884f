//! Imports SSH keys from URLs and GitHub. A failed import does not fail the run.

use cloudinit::key_import::KeyImport;
use host::Outcome;

use super::context::{ApplyContext, StepResult};

impl ApplyContext<'_> {
    /// On failure, previously imported keys stay. An empty response removes them.
    pub(super) fn import_keys(&mut self, user: &str, name: &str, import: &KeyImport) -> StepResult {
        match self.fetcher.keys(import, self.settings.log) {
            Ok(keys) => {
                self.info(format!("Importing {} ssh keys as {name:?} of user '{user}'", keys.len()));
                self.ssh_keys(user, name, &keys)
            }
            Err(error) => {
                let error = service::error::chain(&error);
                self.record_missed(format!("import ssh keys as {name:?} of user '{user}'"), error);
                Ok(Outcome::Unchanged)
            }
        }
    }
}
