//! The integration tests of a package are one program: each further one is linked with all dependencies again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// Packages with several. Two of `etcd`'s compile openraft's generic code, each with other types, at the same time; the
/// others start the program.
const SEVERAL: [&str; 1] = ["etcd"];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut programs: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
    for file in &workspace.files {
        if let Some(package) = package_of_program(file) {
            programs.entry(package).or_default().push(file);
        }
    }
    let findings = programs
        .into_iter()
        .filter(|(package, files)| files.len() > 1 && !SEVERAL.contains(package))
        .map(|(package, files)| {
            let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            Finding::new(
                package.to_owned(),
                format!(
                    "several test programs, where modules of tests/suite/main.rs serve: {}",
                    names.join(", ")
                ),
            )
        });
    Ok(Outcome::of(findings.collect()))
}

/// The package that has this file as a test program.
fn package_of_program(file: &Path) -> Option<&str> {
    let words: Vec<_> = file.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["crates", _, package, "tests", name] if name.ends_with(".rs") => Some(package),
        ["crates", _, package, "tests", _, "main.rs"] => Some(package),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    #[test]
    fn a_second_program_is_found() {
        let found = |files: &[(&str, &str)]| match check(&with_files(files).workspace).unwrap() {
            Outcome::Checked { findings, .. } => findings.len(),
            Outcome::Skipped(why) => unreachable!("{why}"),
        };
        let suite = ("crates/a/b/tests/suite/main.rs", "");
        assert_eq!(found(&[suite, ("crates/a/b/tests/suite/part.rs", "")]), 0);
        assert_eq!(found(&[suite, ("crates/a/b/tests/other.rs", "")]), 1);
        assert_eq!(found(&[suite, ("crates/a/b/tests/other/main.rs", "")]), 1);
        assert_eq!(found(&[suite, ("crates/a/c/tests/suite/main.rs", "")]), 0);
    }
}
