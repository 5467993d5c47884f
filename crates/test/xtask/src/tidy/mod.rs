//! The project's lints: one module each, with tests that show it fail.
//!
//! A lint only reads. It reports what it cannot check on this host as skipped, with the reason.

mod contract_tests;
mod declared_names;
mod documented_tests;
mod equal_features;
mod file_sizes;
mod finding;
mod forbidden_names;
mod ignored_tests;
mod layers;
mod licences;
mod links;
mod lock_hosts;
mod module_circles;
mod module_tree;
mod phrases;
mod pure_layers;
mod shell_scripts;
mod spelling;
mod test_programs;
mod unit_exposure;
mod unit_files;
mod workspace_lints;

pub use finding::Outcome;

use crate::workspace::Workspace;

pub struct Rule {
    pub name: &'static str,
    pub check: fn(&Workspace) -> anyhow::Result<Outcome>,
}

/// Every lint, in output order.
pub const RULES: [Rule; 20] = [
    Rule { name: "layers", check: layers::check },
    Rule { name: "pure-layers", check: pure_layers::check },
    Rule { name: "module-circles", check: module_circles::check },
    Rule { name: "file-sizes", check: file_sizes::check },
    Rule { name: "forbidden-names", check: forbidden_names::check },
    Rule { name: "declared-names", check: declared_names::check },
    Rule { name: "phrases", check: phrases::check },
    Rule { name: "spelling", check: spelling::check },
    Rule { name: "links", check: links::check },
    Rule { name: "licences", check: licences::check },
    Rule { name: "workspace-lints", check: workspace_lints::check },
    Rule { name: "lock-hosts", check: lock_hosts::check },
    Rule { name: "contract-tests", check: contract_tests::check },
    Rule { name: "documented-tests", check: documented_tests::check },
    Rule { name: "equal-features", check: equal_features::check },
    Rule { name: "ignored-tests", check: ignored_tests::check },
    Rule { name: "test-programs", check: test_programs::check },
    Rule { name: "unit-files", check: unit_files::check },
    Rule { name: "unit-exposure", check: unit_exposure::check },
    Rule { name: "shell-scripts", check: shell_scripts::check },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// Lets `cargo test` alone check the lints that need no other program.
    #[test]
    fn this_checkout_keeps_the_rules() {
        let workspace = Workspace::load(&workspace::root()).unwrap();
        for rule in &RULES {
            match (rule.check)(&workspace).unwrap() {
                Outcome::Checked { findings, .. } => {
                    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
                    assert!(lines.is_empty(), "{}:\n{}", rule.name, lines.join("\n"));
                }
                Outcome::Skipped(reason) => eprintln!("SKIPPED: tidy::{}: {reason}", rule.name),
            }
        }
    }
}
