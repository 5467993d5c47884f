//! Files, folders and crates have specific names: a catch-all name collects unrelated code.

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

const FORBIDDEN: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "misc", "shared", "stuff"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for file in workspace.files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "rs")) {
        let names = file.iter().map(|part| part.to_string_lossy());
        for name in
            names.map(|part| part.trim_end_matches(".rs").to_owned()).filter(|name| is_forbidden(name))
        {
            let message = format!("`{name}` says nothing: name it after what it holds");
            findings.push(Finding::new(file.display().to_string(), message));
        }
    }
    for package in workspace.packages.iter().filter(|package| is_forbidden(&package.name)) {
        let location = workspace.relative(&package.manifest_path);
        findings
            .push(Finding::new(location, format!("crate `{}`: name it after what it holds", package.name)));
    }
    Ok(Outcome::of(findings))
}

/// Whether a word of `name` is forbidden: `net_utils` is no better than `utils`.
fn is_forbidden(name: &str) -> bool {
    name.split(['_', '-']).any(|word| FORBIDDEN.contains(&word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::{package, with_files};

    #[test]
    fn files_folders_and_crates() {
        let mut made = with_files(&[
            ("src/net_utils.rs", ""),
            ("src/common/mod.rs", ""),
            ("src/utilisation.rs", ""),
            ("docs/common.txt", ""),
        ]);
        made.workspace.packages = vec![package("misc", json!(0), &[]), package("units", json!(0), &[])];
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let places: Vec<_> = findings.iter().map(|finding| finding.location.as_str()).collect();
        assert_eq!(places, ["src/common/mod.rs", "src/net_utils.rs", "/somewhere/crates/misc/Cargo.toml"]);
    }
}
