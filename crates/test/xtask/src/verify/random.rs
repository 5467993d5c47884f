//! Finds randomized tests, so that long runs repeat them: thousands of repetitions find what one misses.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;

use crate::workspace::Workspace;

/// Marks every file with such a test.
const MARK: &str = "proptest! {";

/// nextest's filter for the modules and test binaries with randomized tests; `None` without any.
pub fn filter(workspace: &Workspace) -> Result<Option<String>> {
    let mut programs = BTreeSet::new();
    for file in workspace.files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        if let Some(program) = program(file)
            && workspace.read(file)?.lines().any(|line| line.trim_start() == MARK)
        {
            programs.insert(program);
        }
    }
    let all: Vec<_> = programs.into_iter().collect();
    Ok((!all.is_empty()).then(|| all.join(" | ")))
}

/// The test binary that a source file belongs to, or its module of a `suite`. Packages are named like their folders.
fn program(file: &Path) -> Option<String> {
    let words: Vec<_> = file.iter().filter_map(|word| word.to_str()).collect();
    match words.as_slice() {
        ["crates", _, package, "src", ..] => Some(format!("(package(={package}) & !kind(test))")),
        ["crates", _, package, "tests", "suite", name, ..] => {
            Some(format!("(binary_id(={package}::suite) & test(/^{}::/))", without_extension(name)))
        }
        ["crates", _, package, "tests", name, ..] => {
            Some(format!("binary_id(={package}::{})", without_extension(name)))
        }
        _ => None,
    }
}

fn without_extension(name: &str) -> &str {
    name.strip_suffix(".rs").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_in_its_folders_program() {
        for (file, expected) in [
            (
                "crates/etcd/etcd-store/tests/suite/garbage.rs",
                Some("(binary_id(=etcd-store::suite) & test(/^garbage::/))"),
            ),
            (
                "crates/test/etcd-simulation/tests/simulation/run.rs",
                Some("binary_id(=etcd-simulation::simulation)"),
            ),
            ("crates/fleet/fleetctl/src/table.rs", Some("(package(=fleetctl) & !kind(test))")),
            ("qemu/runner.rs", None),
        ] {
            assert_eq!(program(Path::new(file)).as_deref(), expected, "{file}");
        }
    }
}
