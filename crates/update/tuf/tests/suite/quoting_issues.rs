//! The suite's `test_quoting_issues.py`, and target paths.

use crate::simulator::*;

fn unusual_role_name(role: &str, file: &str) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.delegate(TARGETS, role, false, patterns(&["*"]));
    repository.publish(&[role, TARGETS, SNAPSHOT, TIMESTAMP]);
    assert_eq!(machine.find(&mut repository, "nonexistent target").unwrap(), None);
    assert_eq!(repository.requests.last().unwrap(), file);
    assert_eq!(machine.store.0.len(), 5);
    assert_eq!(machine.store.0[role], *repository.latest(role));
}

#[test]
fn unusual_role_name_question_mark() {
    unusual_role_name("?", "1.%3F.json");
}

#[test]
fn unusual_role_name_hash() {
    unusual_role_name("#", "1.%23.json");
}

#[test]
fn unusual_role_name_absolute() {
    unusual_role_name("/delegatedrole", "1.%2Fdelegatedrole.json");
}

#[test]
fn unusual_role_name_parent() {
    unusual_role_name("../delegatedrole", "1...%2Fdelegatedrole.json");
}

#[test]
fn target_paths_are_quoted() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    for path in ["a b?c#d/ü%2F.x", "a+b:c/..x"] {
        repository.add_target(TARGETS, path, path.as_bytes());
        repository.publish(&UPDATE);
        machine.download(&mut repository, path).unwrap();
        assert_eq!(machine.downloaded[path], path.as_bytes());
    }
    assert!(repository.downloads[0].starts_with("a%20b%3Fc%23d/"), "{}", repository.downloads[0]);
    assert!(repository.downloads[0].ends_with(".%C3%BC%252F.x"), "{}", repository.downloads[0]);
}
