//! The suite's `test_updater_delegation_graphs.py`.

use tuf::{Paths, path_digest};

use crate::simulator::*;

/// Delegator, role, whether it is terminating, and its patterns.
type Delegation<'a> = (&'a str, &'a str, bool, &'a [&'a str]);

const ANY: &[&str] = &["*"];
const PYTHON: &[&str] = &["*.py"];

fn with_graph(graph: &[Delegation<'_>]) -> (Simulator, Machine) {
    let mut repository = Simulator::new();
    let machine = Machine::new(&repository);
    for (delegator, role, terminating, paths) in graph {
        repository.delegate(delegator, role, *terminating, patterns(paths));
    }
    (repository, machine)
}

fn publish(repository: &mut Simulator) {
    let mut roles: Vec<String> = repository.targets.keys().cloned().collect();
    roles.sort_by_key(|role| role == TARGETS);
    for role in &roles {
        repository.publish(&[role]);
    }
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
}

/// Requests after those of the top-level roles.
fn visited(repository: &Simulator) -> Vec<&str> {
    let names = repository.requests.iter().filter_map(|name| name.strip_prefix("1.")?.strip_suffix(".json"));
    names.collect()
}

#[track_caller]
fn graph_traversal(graph: &[Delegation<'_>], expected: &[&str]) {
    let (mut repository, mut machine) = with_graph(graph);
    publish(&mut repository);
    assert_eq!(machine.find(&mut repository, "missingpath").unwrap(), None);
    assert_eq!(visited(&repository), expected);
}

#[test]
fn graph_traversal_basic_delegation() {
    graph_traversal(&[("targets", "A", false, ANY)], &["A"]);
}

#[test]
fn graph_traversal_single_level_delegations() {
    graph_traversal(&[("targets", "A", false, ANY), ("targets", "B", false, ANY)], &["A", "B"]);
}

#[test]
fn graph_traversal_two_level_delegations() {
    let graph = [("targets", "A", false, ANY), ("targets", "B", false, ANY), ("B", "C", false, ANY)];
    graph_traversal(&graph, &["A", "B", "C"]);
}

#[test]
fn graph_traversal_two_level_test_dfs_order_of_traversal() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("A", "C", false, ANY),
        ("A", "D", false, ANY),
    ];
    graph_traversal(&graph, &["A", "C", "D", "B"]);
}

#[test]
fn graph_traversal_three_level_delegation_test_dfs_order_of_traversal() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("A", "C", false, ANY),
        ("C", "D", false, ANY),
    ];
    graph_traversal(&graph, &["A", "C", "D", "B"]);
}

#[test]
fn graph_traversal_two_level_terminating_ignores_all_but_roles_descendants() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("A", "C", true, ANY),
        ("A", "D", false, ANY),
    ];
    graph_traversal(&graph, &["A", "C"]);
}

#[test]
fn graph_traversal_three_level_terminating_ignores_all_but_roles_descendants() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("A", "C", true, ANY),
        ("C", "D", false, ANY),
    ];
    graph_traversal(&graph, &["A", "C", "D"]);
}

#[test]
fn graph_traversal_two_level_ignores_all_branches_not_matching_paths() {
    let graph = [("targets", "A", false, PYTHON), ("targets", "B", false, ANY), ("A", "C", false, ANY)];
    graph_traversal(&graph, &["B"]);
}

#[test]
fn graph_traversal_three_level_ignores_all_branches_not_matching_paths() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("A", "C", false, PYTHON),
        ("C", "D", false, ANY),
    ];
    graph_traversal(&graph, &["A", "B"]);
}

#[test]
fn graph_traversal_cyclic_graph() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("B", "C", false, ANY),
        ("C", "D", false, ANY),
        ("D", "B", false, ANY),
    ];
    graph_traversal(&graph, &["A", "B", "C", "D"]);
}

#[test]
fn graph_traversal_two_roles_delegating_to_a_third() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("B", "C", false, ANY),
        ("A", "C", false, ANY),
    ];
    graph_traversal(&graph, &["A", "C", "B"]);
}

#[test]
fn graph_traversal_two_roles_delegating_to_a_third_different_paths() {
    let graph = [
        ("targets", "A", false, ANY),
        ("targets", "B", false, ANY),
        ("B", "C", false, ANY),
        ("A", "C", false, PYTHON),
    ];
    graph_traversal(&graph, &["A", "B", "C"]);
}

#[track_caller]
fn targetfile_search(path: &str, found: Option<&str>, expected: &[&str]) {
    let (mut repository, mut machine) = with_graph(&[
        ("targets", "A", false, &["*.doc", "*.md", "foo-?.tgz"]),
        ("targets", "B", false, &["releases/*/*"]),
        ("B", "C", false, &["releases/x/*"]),
        ("B", "D", false, &["releases/y/*.zip"]),
    ]);
    for (role, path) in [
        ("targets", "targetfile"),
        ("A", "README.md"),
        ("A", "releases/README.md"),
        ("A", "foo-1.tgz"),
        ("A", "foo-alpha.tgz"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
    ] {
        repository.add_target(role, path, format!("{path} by {role}").as_bytes());
    }
    publish(&mut repository);
    match found {
        Some(role) => {
            machine.download(&mut repository, path).unwrap();
            assert_eq!(machine.downloaded[path], format!("{path} by {role}").into_bytes());
        }
        None => refused(machine.download(&mut repository, path), "does not have it"),
    }
    assert_eq!(visited(&repository), expected);
}

#[test]
fn targetfile_search_no_delegations() {
    targetfile_search("targetfile", Some("targets"), &[]);
}

#[test]
fn targetfile_search_targetpath_matches_wildcard() {
    targetfile_search("README.md", Some("A"), &["A"]);
}

#[test]
fn targetfile_search_targetpath_with_separators_x() {
    targetfile_search("releases/x/x_v1", Some("C"), &["B", "C"]);
}

#[test]
fn targetfile_search_targetpath_with_separators_y() {
    targetfile_search("releases/y/y_v1.zip", Some("D"), &["B", "D"]);
}

#[test]
fn targetfile_search_targetpath_is_not_delegated_by_all_roles_in_the_chain() {
    targetfile_search("releases/z/z_v1.zip", None, &["B"]);
}

#[test]
fn targetfile_search_wildcard_does_not_match_path_separator() {
    targetfile_search("releases/README.md", None, &[]);
}

#[test]
fn targetfile_search_targetpath_matches_question_mark_wildcard() {
    targetfile_search("foo-1.tgz", Some("A"), &["A"]);
}

#[test]
fn targetfile_search_targetpath_does_not_match_question_mark_wildcard() {
    targetfile_search("foo-alpha.tgz", None, &[]);
}

#[test]
fn targetfile_search_targetpath_matching_is_case_sensitive() {
    targetfile_search("README.MD", None, &[]);
}

#[test]
fn cached_role_is_verified_against_current_delegator() {
    let (mut repository, mut machine) = with_graph(&[
        ("targets", "parent-a", false, &["team-a/*"]),
        ("targets", "parent-b", false, &["team-b/*"]),
        ("parent-a", "release", false, &["team-a/*"]),
        ("parent-b", "release", false, &["team-b/*"]),
    ]);
    // Of the two keys, only the one that the first parent lists signs.
    repository.signers.get_mut("release").unwrap().pop();
    repository.add_target("release", "team-a/root", b"trusted A");
    repository.add_target("release", "team-b/root", b"malicious B");
    publish(&mut repository);
    machine.download(&mut repository, "team-a/root").unwrap();
    refused(
        machine.download(&mut repository, "team-b/root"),
        "1.release.json: signed by 0 of 1 keys of role release",
    );
    assert_eq!(machine.downloaded.len(), 1);
}

#[test]
fn delegation_not_in_snapshot() {
    let (mut repository, mut machine) = with_graph(&[("targets", "delegated", false, &["delegatedpath/*"])]);
    repository.publish(&["delegated", TARGETS]);
    repository.snapshot.meta.remove("delegated.json");
    repository.publish(&[SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.requests.clear();
    let result = machine.download(&mut repository, "delegatedpath/foo");
    refused(result, "delegated.json: the snapshot does not list it");
    assert_eq!(machine.version("delegated"), None);
    assert_eq!(repository.requests, ["2.root.json", "timestamp.json"]);
}

#[test]
fn paths_are_delegated_by_prefixes_of_their_digests() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let prefix = path_digest("a/b")[..2].to_owned();
    repository.delegate(TARGETS, "bin", false, Paths::HashPrefixes(vec![prefix.clone()]));
    let elsewhere =
        (0..).map(|number| number.to_string()).find(|path| !path_digest(path).starts_with(&prefix)).unwrap();
    repository.add_target("bin", "a/b", b"1");
    repository.add_target("bin", &elsewhere, b"2");
    publish(&mut repository);
    machine.download(&mut repository, "a/b").unwrap();
    refused(machine.download(&mut repository, &elsewhere), "does not have it");
}

#[test]
fn a_search_ends_at_the_limit_of_roles() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    for number in 0..20 {
        repository.delegate(TARGETS, &number.to_string(), false, patterns(ANY));
    }
    repository.add_target("19", "x", b"x");
    publish(&mut repository);
    machine.limits.roles = 19;
    refused(machine.download(&mut repository, "x"), "target x: more than 19 roles are delegated to");
    machine.limits.roles = 20;
    machine.download(&mut repository, "x").unwrap();
}

#[test]
fn ambiguous_delegations_are_refused() {
    let check = |change: fn(&mut tuf::Delegations), expected: &str| {
        let (mut repository, mut machine) = with_graph(&[("targets", "A", false, ANY)]);
        change(repository.delegations(TARGETS));
        publish(&mut repository);
        refused(machine.refresh(&mut repository), expected);
    };
    check(
        |delegations| delegations.roles.push(delegations.roles[0].clone()),
        "delegations: roles: `A`: twice",
    );
    check(
        |delegations| delegations.roles[0].name = "root".to_owned(),
        "`root`: the name is that of a top-level role",
    );
    check(
        |delegations| delegations.roles[0].paths = None,
        "`A`: expected one of paths and path_hash_prefixes",
    );
    check(|delegations| delegations.roles[0].path_hash_prefixes = Some(vec![]), "expected one of paths");
}
