//! Every crate of the workspace declares its licence; the step `licences` checks third-party crates.

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let silent = workspace.packages.iter().filter(|package| package.license.is_none());
    let findings = silent
        .map(|package| {
            let message = "no licence field: write `license.workspace = true`";
            Finding::new(workspace.relative(&package.manifest_path), message)
        })
        .collect();
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::{package, with_files};

    #[test]
    fn a_crate_without_a_licence_is_found() {
        let mut made = with_files(&[]);
        let mut silent = package("silent", json!(0), &[]);
        silent.license = None;
        made.workspace.packages = vec![package("fine", json!(0), &[]), silent];
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        assert_eq!(findings.len(), 1);
        assert!(findings[0].location.contains("silent"));
    }
}
