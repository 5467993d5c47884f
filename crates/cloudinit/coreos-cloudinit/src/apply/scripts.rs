//! User-data scripts.

use host::Outcome;

use super::context::{ApplyContext, StepResult};
use crate::script;

impl ApplyContext<'_> {
    /// Chained scripts are ordered by systemd, so that this run does not block on them.
    pub(super) fn script(&mut self, content: &[u8], chained: bool) -> StepResult {
        let root = self.settings.root;
        let stored = script::store(root, self.settings.workspace, content, &self.scripts)?;
        self.unflushed.insert(stored.path.clone());
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
