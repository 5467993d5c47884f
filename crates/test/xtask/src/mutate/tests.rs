//! The stored mutants match this checkout, and docs/reliability.md names each of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::mutant::Target;
use super::*;
use crate::workspace::{self, Package, Workspace};

const PAGE: &str = "docs/reliability.md";

fn kept() -> Vec<Mutant> {
    mutant::load(&workspace::root().join(MUTANTS)).unwrap()
}

/// What is wrong with `mutant` in this checkout.
fn problem(workspace: &Workspace, mutant: &Mutant) -> Option<String> {
    if let Err(stale) = mutant.mutated(&workspace.root) {
        return Some(stale.to_string());
    }
    if mutant.expect.trim().is_empty() || mutant.promise.trim().is_empty() || mutant.tests.is_empty() {
        return Some("promise, expect or tests are empty".to_owned());
    }
    let Some(package) = workspace.packages.iter().find(|package| package.name == mutant.package) else {
        return Some(format!("there is no package {}", mutant.package));
    };
    if !has_target(package, &mutant.target) {
        return Some(format!("package {} has no target {:?}", mutant.package, mutant.target));
    }
    mutant.tests.iter().find(|test| !has_test(workspace, package, test)).map(|test| format!("no test {test}"))
}

fn has_target(package: &Package, target: &Target) -> bool {
    package.targets.iter().any(|found| {
        let kind = |kind: &str| found.kind.iter().any(|of| of == kind);
        let path = |name: &String| {
            found.src_path.ends_with(format!("{name}.rs"))
                || found.src_path.ends_with(format!("{name}/main.rs"))
        };
        match target {
            Target::Lib => kind("lib"),
            Target::Test(name) => kind("test") && path(name),
            Target::Bin(name) => kind("bin") && (path(name) || found.src_path.ends_with("src/main.rs")),
        }
    })
}

fn has_test(workspace: &Workspace, package: &Package, test: &str) -> bool {
    let name = test.rsplit("::").next().unwrap_or(test);
    let folder = package.manifest_path.parent().unwrap();
    let sources = workspace.files.iter().filter(|file| workspace.root.join(file).starts_with(folder));
    let mut sources = sources.filter(|file| file.extension().is_some_and(|end| end == "rs"));
    sources.any(|file| workspace.read(file).unwrap().contains(&format!("fn {name}(")))
}

#[test]
fn every_kept_mutant_describes_this_checkout() {
    let workspace = Workspace::load(&workspace::root()).unwrap();
    let mutants = kept();
    assert!(!mutants.is_empty());
    let check = |mutant: &Mutant| Some(format!("{}: {}", mutant.name, problem(&workspace, mutant)?));
    let problem: Vec<_> = mutants.iter().filter_map(check).collect();
    assert!(problem.is_empty(), "{}", problem.join("\n"));
}

#[test]
fn the_page_names_every_mutant_and_no_other() {
    let mutants: BTreeSet<_> = kept().into_iter().map(|mutant| mutant.name).collect();
    let areas: BTreeSet<_> =
        mutants.iter().filter_map(|name| name.split_once('/')).map(|two| two.0).collect();
    let page = std::fs::read_to_string(workspace::root().join(PAGE)).unwrap();
    // Every second piece of a line is between backticks.
    let code = page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_name = |code: &&str| {
        let plain = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        code.split_once('/').is_some_and(|(area, rest)| areas.contains(area) && plain(rest))
    };
    let named: BTreeSet<_> = code.filter(is_name).map(str::to_owned).collect();
    assert_eq!(named, mutants);
}

#[test]
fn a_stale_or_unknown_mutant_is_named() {
    let workspace = Workspace::load(&workspace::root()).unwrap();
    let good = kept().remove(0);
    let check = |change: &dyn Fn(&mut Mutant), expect: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let problem = problem(&workspace, &bad).unwrap_or_default();
        assert!(problem.contains(expect), "{expect}: {problem:?}");
    };
    assert_eq!(problem(&workspace, &good), None);
    check(&|bad| bad.changes[0].find = "no such snippet".into(), "contains the snippet 0 times");
    check(&|bad| bad.changes[0].find = "\n".into(), "times, not once");
    check(&|bad| bad.changes[0].file = PathBuf::from("none.rs"), "none.rs cannot be read");
    check(&|bad| bad.package = "none".into(), "there is no package none");
    check(&|bad| bad.target = Target::Test("none".into()), "has no target");
    check(&|bad| bad.tests.push("a::none".into()), "no test a::none");
    check(&|bad| bad.expect = " ".into(), "empty");
}

fn names(mutants: &[&str], chosen: &[&str], slice: Option<&str>) -> Result<Vec<String>, UnknownMutant> {
    let good = kept().remove(0);
    let all: Vec<_> =
        mutants.iter().map(|name| Mutant { name: (*name).to_owned(), ..good.clone() }).collect();
    let chosen: Vec<_> = chosen.iter().map(|name| (*name).to_owned()).collect();
    let slice = slice.map(|text| text.parse().unwrap());
    Ok(choose(&all, &chosen, slice)?.into_iter().map(|mutant| mutant.name.clone()).collect())
}

#[test]
fn mutants_are_chosen_by_name_area_and_slice() {
    let all = ["a/one", "a/two", "ab/one", "b/one", "b/two"];
    let check = |chosen: &[&str], slice: Option<&str>, expected: &[&str]| {
        assert_eq!(names(&all, chosen, slice).unwrap(), expected);
    };
    check(&[], None, &all);
    check(&["a"], None, &["a/one", "a/two"]);
    check(&["a/two", "b"], None, &["a/two", "b/one", "b/two"]);
    check(&[], Some("1/2"), &["a/one", "ab/one", "b/two"]);
    check(&[], Some("2/2"), &["a/two", "b/one"]);
    check(&["b"], Some("2/2"), &["b/two"]);
    let error = names(&all, &["c"], None).unwrap_err().to_string();
    assert_eq!(error, "no mutant or area is named c (cargo xtask mutate --list)");
}

#[test]
fn a_slice_has_two_numbers() {
    for bad in ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2"] {
        assert!(bad.parse::<Slice>().is_err(), "{bad}");
    }
    assert_eq!("2/4".parse(), Ok(Slice { part: 2, of: 4 }));
}
