//! `.ci/verified`: the commit of the last green CI run, and the parts that the change before it touched and that no run
//! has had time for. Each update advances the rotation by one slice.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::result::StepResult;

pub const FILE: &str = ".ci/verified";

/// The commit in the first line, a part in each further line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub commit: String,
    /// `STEP/PART`. The next run takes them first.
    pub outstanding: BTreeSet<String>,
}

impl Verified {
    /// `None` without the file.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => Ok(Some(Self::parse(&text))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {FILE}")),
        }
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
        Self { commit: lines.next().unwrap_or_default(), outstanding: lines.collect() }
    }

    /// The file after a run of `commit` with these results, in which the parts `due` were to run.
    pub fn after(commit: String, due: &[String], results: &[StepResult]) -> Self {
        let not_run = results.iter().flat_map(StepResult::not_run).map(|skip| skip.part);
        Self { commit, outstanding: not_run.filter(|part| due.contains(part)).collect() }
    }

    pub fn text(&self) -> String {
        let parts: String = self.outstanding.iter().map(|part| format!("{part}\n")).collect();
        format!("{}\n{parts}", self.commit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::{Skip, State};
    use super::*;

    #[test]
    fn what_a_change_touches_is_outstanding_until_it_runs() {
        let mut result = StepResult::new("scenarios-qemu", State::Passed(String::new()));
        result.skipped = ["reset", "update-roll"]
            .map(|name| Skip { part: format!("scenarios-qemu/{name}"), reason: String::new() })
            .into();
        let due = ["scenarios-qemu/kv", "scenarios-qemu/reset"].map(str::to_owned);
        let after = Verified::after("abc".to_owned(), &due, &[result]);
        assert_eq!(after.text(), "abc\nscenarios-qemu/reset\n");
        assert_eq!(Verified::parse(&after.text()), after);
        let [none, folder] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        assert_eq!(Verified::read(none.path()).unwrap(), None);
        std::fs::create_dir(folder.path().join(".ci")).unwrap();
        std::fs::write(folder.path().join(FILE), "abc\n").unwrap();
        let only_commit = Verified { commit: "abc".to_owned(), ..Verified::default() };
        assert_eq!(Verified::read(folder.path()).unwrap(), Some(only_commit));
    }
}
