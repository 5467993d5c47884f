//! Runs the suite on three members of Debian's etcd. The program `conformance` covers one member, and third-party
//! clients.

use conformance::backend::{Cluster, Kind, Plan, Program};
use conformance::case;
use conformance::run::{self, MIN_HELD, Outcome};

#[test]
#[ignore = "needs Debian's etcd-server: cargo verify conformance"]
fn reference_of_three_members() {
    let plan = Plan { program: Program::reference(), members: 3, folder: std::env::temp_dir() };
    let verdicts = run::all(&mut Cluster::start(&plan).unwrap(), Kind::Reference, "").unwrap();
    let failed: Vec<_> =
        verdicts.iter().filter(|verdict| matches!(verdict.outcome, Outcome::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let held = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Held).count();
    assert!(held >= MIN_HELD, "only {held} held");
}

#[test]
fn case_files_are_read_and_names_are_used_once() {
    let cases = case::all().unwrap();
    assert!(cases.len() >= MIN_HELD, "{}", cases.len());
    let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), cases.len());
}
