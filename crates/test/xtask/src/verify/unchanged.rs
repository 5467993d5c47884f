//! Leaves out the tests of packages whose inputs have not changed since all of them passed, and records what passes.

use std::collections::BTreeSet;

use super::inputs::Digests;
use super::junit::Ran;
use super::listed::Listed;
use super::passed::{Passed, PassedPackage};
use super::result::Skip;

/// What a run leaves out of its tests. The default leaves out nothing, and records nothing.
#[derive(Debug, Default)]
pub struct Selection {
    /// The tests of the workspace.
    listed: Listed,
    /// Of the inputs before the tests were compiled.
    before: Digests,
    /// The packages that are left out.
    pub left_out: Passed,
}

impl Selection {
    /// Leaves out what `recorded` has with the same digest and number of tests.
    pub fn new(listed: Listed, before: Digests, mut recorded: Passed) -> Self {
        recorded.retain(|package, passed| {
            before.get(package) == Some(&passed.digest)
                && listed.get(package).is_some_and(|parts| parts.len() == passed.tests)
        });
        Self { listed, before, left_out: recorded }
    }

    /// Number of tests that are left out.
    pub fn unchanged(&self) -> usize {
        self.left_out.values().map(|passed| passed.tests).sum()
    }

    /// Whether no tests remain.
    pub fn is_all(&self) -> bool {
        !self.listed.is_empty() && self.listed.keys().all(|package| self.left_out.contains_key(package))
    }

    /// nextest's filter for the remaining tests; `None` if nothing is left out.
    pub fn filter(&self) -> Option<String> {
        let packages: Vec<_> = self.left_out.keys().map(|package| format!("package(={package})")).collect();
        (!packages.is_empty()).then(|| format!("not ({})", packages.join(" + ")))
    }

    /// The tests among the left out ones that skipped themselves when they ran.
    pub fn skipped(&self) -> Vec<Skip> {
        self.left_out.values().flat_map(|passed| passed.skipped.clone()).collect()
    }

    /// The record after the run: also the packages all of whose tests ran and passed, and whose inputs did not change
    /// meanwhile.
    pub fn passed(&self, ran: &Ran, after: &Digests) -> Passed {
        let failed = |part: &String| ran.failed.contains(part);
        let good: BTreeSet<&String> =
            ran.tests.iter().map(|test| &test.part).filter(|part| !failed(part)).collect();
        let mut passed = self.left_out.clone();
        for (package, parts) in &self.listed {
            let Some(digest) = self.before.get(package) else { continue };
            if after.get(package) == Some(digest) && parts.iter().all(|part| good.contains(part)) {
                let skipped = ran.skipped.iter().filter(|skip| parts.contains(&skip.part)).cloned().collect();
                let digest = digest.clone();
                passed.insert(package.clone(), PassedPackage { digest, tests: parts.len(), skipped });
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::Timed;
    use super::*;

    /// Two tests of `etcd-store`, one of `kv`.
    fn listed() -> Listed {
        let package = |name: &str, parts: &[&str]| {
            (name.to_owned(), parts.iter().map(|part| format!("tests/{part}")).collect())
        };
        [package("etcd-store", &["etcd-store::a", "etcd-store::suite::b"]), package("kv", &["kv::a"])].into()
    }

    fn digests(all: [(&str, &str); 2]) -> Digests {
        all.map(|(package, digest)| (package.to_owned(), digest.to_owned())).into()
    }

    const BEFORE: [(&str, &str); 2] = [("etcd-store", "1"), ("kv", "2")];

    fn ran(tests: &[&str], failed: &[&str]) -> Ran {
        let part = |name: &&str| format!("tests/{name}");
        let skip = Skip { part: "tests/etcd-store::suite::b".into(), reason: "b: no root".into() };
        Ran {
            tests: tests.iter().map(|name| Timed { part: part(name), seconds: 1.0 }).collect(),
            skipped: vec![skip],
            failed: failed.iter().map(part).collect(),
        }
    }

    const ALL: [&str; 3] = ["etcd-store::a", "etcd-store::suite::b", "kv::a"];

    /// The record of a run of everything.
    fn recorded() -> Passed {
        let everything = Selection::new(listed(), digests(BEFORE), Passed::new());
        assert_eq!((everything.filter(), everything.is_all(), everything.unchanged()), (None, false, 0));
        everything.passed(&ran(&ALL, &[]), &digests(BEFORE))
    }

    fn check_left_out(before: [(&str, &str); 2], filter: Option<&str>, unchanged: usize, all: bool) {
        let selection = Selection::new(listed(), digests(before), recorded());
        assert_eq!(selection.filter().as_deref(), filter, "{before:?}");
        assert_eq!((selection.unchanged(), selection.is_all()), (unchanged, all), "{before:?}");
    }

    #[test]
    fn packages_with_the_same_inputs_are_left_out() {
        let both = "not (package(=etcd-store) + package(=kv))";
        check_left_out(BEFORE, Some(both), 3, true);
        check_left_out([("etcd-store", "1"), ("kv", "3")], Some("not (package(=etcd-store))"), 2, false);
        check_left_out([("etcd-store", "3"), ("kv", "2")], Some("not (package(=kv))"), 1, false);
        check_left_out([("etcd-store", "3"), ("kv", "4")], None, 0, false);
    }

    #[test]
    fn a_package_with_other_tests_than_recorded_runs() {
        let mut listed = listed();
        listed.get_mut("kv").unwrap().insert("tests/kv::new".into());
        let selection = Selection::new(listed, digests(BEFORE), recorded());
        assert_eq!(selection.left_out.keys().collect::<Vec<_>>(), ["etcd-store"]);
        let none = Selection::new(Listed::new(), digests(BEFORE), recorded());
        assert!(!none.is_all() && none.filter().is_none(), "no test is listed");
    }

    fn check_recorded(ran: &Ran, after: [(&str, &str); 2], expect: &[&str]) {
        let selection = Selection::new(listed(), digests(BEFORE), Passed::new());
        let passed = selection.passed(ran, &digests(after));
        assert_eq!(passed.keys().collect::<Vec<_>>(), expect, "{ran:?} {after:?}");
    }

    #[test]
    fn a_package_is_recorded_if_all_its_tests_passed() {
        check_recorded(&ran(&ALL, &[]), BEFORE, &["etcd-store", "kv"]);
        check_recorded(&ran(&ALL, &["etcd-store::a"]), BEFORE, &["kv"]);
        check_recorded(&ran(&ALL, &ALL), BEFORE, &[]);
        check_recorded(&ran(&["etcd-store::a", "kv::a"], &[]), BEFORE, &["kv"]);
        check_recorded(&Ran::default(), BEFORE, &[]);
    }

    #[test]
    fn a_package_that_changed_meanwhile_is_not_recorded() {
        check_recorded(&ran(&ALL, &[]), [("etcd-store", "1"), ("kv", "3")], &["etcd-store"]);
        check_recorded(&ran(&ALL, &[]), [("etcd-store", "3"), ("kv", "3")], &[]);
    }

    #[test]
    fn a_record_is_kept_while_its_package_is_left_out_and_lost_when_it_fails() {
        let run = |before, ran: &Ran| {
            let selection = Selection::new(listed(), digests(before), recorded());
            selection.passed(ran, &digests(before)).into_keys().collect::<Vec<_>>()
        };
        let changed = [("etcd-store", "1"), ("kv", "3")];
        assert_eq!(run(changed, &ran(&["kv::a"], &[])), ["etcd-store", "kv"]);
        assert_eq!(run(changed, &ran(&["kv::a"], &["kv::a"])), ["etcd-store"]);
    }

    #[test]
    fn tests_that_skipped_themselves_are_reported_again() {
        let skipped = |before| Selection::new(listed(), digests(before), recorded()).skipped();
        let expected = ran(&[], &[]).skipped;
        assert_eq!(skipped(BEFORE), expected);
        assert_eq!(skipped([("etcd-store", "1"), ("kv", "3")]), expected);
        assert_eq!(skipped([("etcd-store", "3"), ("kv", "2")]), [], "they run");
    }
}
