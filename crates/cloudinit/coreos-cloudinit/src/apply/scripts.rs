//! Scripts of the user-data.

use host::Outcome;

use super::hands::{Hands, Step};
use crate::script;

impl Hands<'_> {
    /// One of several waits for the one before: systemd holds it back, so that this run does not hang on it.
    pub(super) fn script(&mut self, content: &[u8], chained: bool) -> Step {
        let root = self.settings.root;
        let stored = script::store(root, self.settings.workspace, content, &self.scripts)?;
        self.touched.insert(stored.path.clone());
        if self.may_run("the script") {
            let chain = chained.then(|| script::Chain { after: self.scripts.last() });
            script::start(root, &stored, chain, self.systemd()?)?;
            self.info(format!("Started the script as {}", stored.unit));
            self.applied.scripts.push(stored.unit.clone());
        }
        self.scripts.push(stored);
        Ok(Outcome::Changed)
    }
}
