//! Enforces `deny.toml`: licences, bans and sources of all crates that cargo resolves for its platforms.
//!
//! `cargo deny` checks the same file more thoroughly but takes minutes to install; it runs too if installed.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use super::result::{State, judge};
use crate::command::{cargo, has_cargo_plugin, show};
use crate::workspace::Workspace;

const RULES: &str = "deny.toml";
/// The allowed registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// Accepts older notations: `MIT/Apache-2.0` as `MIT OR Apache-2.0`, and deprecated names.
const MODE: ParseMode =
    ParseMode { allow_slash_as_or_operator: true, allow_deprecated: true, ..ParseMode::STRICT };

/// The part of `deny.toml` that is checked here.
#[derive(Debug, Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

/// The relevant part of `cargo metadata`.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// `None` for crates of this checkout.
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Dependency {
    name: String,
    req: String,
    path: Option<String>,
}

pub fn run(workspace: &Workspace) -> Result<State> {
    let path = workspace.root.join(RULES);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).with_context(|| format!("{RULES} has not the usual form"))?;
    let mut packages = BTreeSet::new();
    for target in &rules.graph.targets {
        packages.extend(resolved(&workspace.root, target)?);
    }
    let findings = check(&rules, &packages)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        return Ok(State::Failed(format!("{} found, shown above", findings.len())));
    }
    if has_cargo_plugin(&workspace.root, "deny") {
        let arguments = ["deny", "--locked", "check", "licenses", "bans"];
        return Ok(judge(&show(&mut cargo(&workspace.root, &arguments))?));
    }
    Ok(State::Passed(format!("{} crates, by their own word (no cargo-deny here)", packages.len())))
}

/// All packages that are built for `target`.
fn resolved(root: &Path, target: &str) -> Result<Vec<Package>> {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", target];
    let output = cargo(root, &arguments).output().context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed something else")?;
    Ok(metadata.packages)
}

fn check(rules: &Rules, packages: &BTreeSet<Package>) -> Result<Vec<String>> {
    let parse =
        |word: &String| Licensee::parse(word).with_context(|| format!("{RULES}: {word} is no licence"));
    let allowed: Vec<Licensee> = rules.licenses.allow.iter().map(parse).collect::<Result<_>>()?;
    let mut findings = Vec::new();
    for package in packages {
        let mut found = |what: String| findings.push(format!("{} {}: {what}", package.name, package.version));
        if let Some(what) = licence(package.license.as_deref(), &allowed) {
            found(what);
        }
        if rules.bans.deny.iter().any(|banned| banned.name == package.name) {
            found(format!("{RULES} bans it"));
        }
        if package.source.as_ref().is_some_and(|source| source != REGISTRY) {
            found("it comes from elsewhere than the registry".to_owned());
        }
        // Third-party manifests are not checked for version requirements.
        let own = package.dependencies.iter().filter(|_| package.source.is_none());
        for wild in own.filter(|dependency| dependency.req == "*" && dependency.path.is_none()) {
            found(format!("it takes any version of {}", wild.name));
        }
    }
    Ok(findings)
}

/// Returns what is wrong with a licence.
fn licence(stated: Option<&str>, allowed: &[Licensee]) -> Option<String> {
    let Some(stated) = stated else { return Some("it states no licence".to_owned()) };
    let expression = match Expression::parse_mode(stated, MODE) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("its licence {stated:?} cannot be read: {}", error.reason)),
    };
    let is_allowed =
        expression.evaluate(|licence| allowed.iter().any(|licensee| licensee.satisfies(licence)));
    (!is_allowed).then(|| format!("{RULES} does not allow its licence {stated}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, license: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: Some(REGISTRY.to_owned()),
            dependencies: Vec::new(),
        }
    }

    fn found(package: Package) -> Vec<String> {
        let rules = "[graph]\ntargets = []\n[licenses]\nallow = [\"MIT\", \"Apache-2.0 WITH LLVM-exception\"]\n\
            [bans]\ndeny = [{ name = \"serde_yaml\" }]\n";
        check(&toml::from_str(rules).unwrap(), &BTreeSet::from([package])).unwrap()
    }

    #[test]
    fn a_licence_is_allowed_by_one_of_its_choices_and_all_of_its_parts() {
        let check = |stated: Option<&str>, expect: Option<&str>| {
            let findings = found(package("a", stated));
            assert_eq!(findings.is_empty(), expect.is_none(), "{stated:?}: {findings:?}");
            if let Some(expect) = expect {
                assert!(findings[0].contains(expect), "{findings:?}");
            }
        };
        check(Some("MIT"), None);
        check(Some("MIT OR GPL-3.0-only"), None);
        check(Some("MIT/GPL-3.0"), None);
        check(Some("Apache-2.0 WITH LLVM-exception"), None);
        check(
            Some("MIT AND GPL-3.0-only"),
            Some("deny.toml does not allow its licence MIT AND GPL-3.0-only"),
        );
        check(Some("Apache-2.0"), Some("does not allow"));
        check(Some("Some Words"), Some("cannot be read"));
        check(None, Some("it states no licence"));
    }

    #[test]
    fn bans_sources_and_versions_are_held() {
        assert_eq!(found(package("serde_yaml", Some("MIT"))), ["serde_yaml 1.0.0: deny.toml bans it"]);
        let from =
            |source: Option<&str>| Package { source: source.map(str::to_owned), ..package("a", Some("MIT")) };
        assert_eq!(found(from(Some("git+https://example.org/a"))).len(), 1);
        let wild = |path: Option<&str>| Dependency {
            name: "b".to_owned(),
            req: "*".to_owned(),
            path: path.map(str::to_owned),
        };
        let with = |source, path| Package { dependencies: vec![wild(path)], ..from(source) };
        assert_eq!(found(with(None, None)), ["a 1.0.0: it takes any version of b"]);
        assert!(found(with(None, Some("/b"))).is_empty(), "a crate of this checkout");
        assert!(found(with(Some(REGISTRY), None)).is_empty(), "somebody else's manifest");
    }
}
