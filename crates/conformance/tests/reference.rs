//! The suite on Debian's etcd, one member and three, and the clients of others on it.
//!
//! Ignored where `cargo nextest run` is given no wish: the package `etcd-server` is not on every host. Run with
//! `cargo nextest run -p conformance --run-ignored all`.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::path::Path;

use conformance::backend::{Cluster, Kind, Plan, Program};
use conformance::run::{self, Outcome};
use conformance::{case, clients};

const FEWEST: usize = 250;

fn start(program: Program, members: usize) -> Cluster {
    Cluster::start(&Plan { program, members, folder: std::env::temp_dir() }).unwrap()
}

fn check(kind: Kind, program: Program, members: usize) {
    let verdicts = run::all(&mut start(program, members), kind, "").unwrap();
    let failed: Vec<_> =
        verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let held = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Held).count();
    assert!(held >= FEWEST, "only {held} held");
}

#[test]
#[ignore = "needs Debian's etcd-server"]
fn reference_of_one_member() {
    check(Kind::Reference, Program::reference(), 1);
}

#[test]
#[ignore = "needs Debian's etcd-server"]
fn reference_of_three_members() {
    check(Kind::Reference, Program::reference(), 3);
}

#[test]
#[ignore = "needs Debian's etcd-server and PyPI"]
fn reference_with_python_etcd() {
    let cluster = start(Program::reference(), 1);
    clients::python(Path::new(env!("CARGO_TARGET_TMPDIR")), cluster.addresses()[0]).unwrap();
}

#[test]
#[ignore = "needs Debian's etcd-server and crates.io"]
fn reference_with_the_crate_etcd() {
    let cluster = start(Program::reference(), 1);
    clients::rust(Path::new(env!("CARGO_TARGET_TMPDIR")), cluster.addresses()[0]).unwrap();
}

#[test]
fn case_files_are_read_and_names_are_used_once() {
    let cases = case::all().unwrap();
    assert!(cases.len() >= FEWEST, "{}", cases.len());
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), cases.len());
}
