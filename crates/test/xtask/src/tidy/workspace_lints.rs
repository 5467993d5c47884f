//! Every crate has the workspace's lints: one without them could use `unsafe` unnoticed.

use anyhow::{Context, Result};

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let path = &package.manifest_path;
        let failed = || format!("cannot read {}", path.display());
        let manifest: toml::Table =
            std::fs::read_to_string(path).with_context(failed)?.parse().with_context(failed)?;
        if manifest.get("lints").and_then(|lints| lints.get("workspace")) != Some(&toml::Value::Boolean(true))
        {
            let message = "without the workspace's lints: write `[lints]` and `workspace = true`";
            findings.push(Finding::new(workspace.relative(path), message));
        }
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::with_crate;

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let check = |manifest: &str, expect: usize| {
            let mut made = with_crate("some", json!(0), &[("Cargo.toml", manifest)]);
            made.workspace.packages[0].manifest_path = made.workspace.root.join("crates/some/Cargo.toml");
            let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else {
                panic!("skipped")
            };
            assert_eq!(findings.len(), expect, "{manifest}");
        };
        check("[lints]\nworkspace = true\n", 0);
        check("[package]\nname = \"some\"\n", 1);
        check("[lints]\nworkspace = false\n", 1);
        check("[lints.rust]\nunsafe_code = \"allow\"\n", 1);
    }
}
