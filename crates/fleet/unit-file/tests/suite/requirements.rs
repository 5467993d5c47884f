//! `[X-Fleet]` in every spelling, and its findings.

use unit_file::{FLEET_VALUES, Requirements, Severity, UnitFile, UnitName, UpdatePolicy};

fn read(name: &str, lines: &str) -> (Requirements, Vec<String>) {
    let file = UnitFile::from_text(&format!("[X-Fleet]\n{lines}")).unwrap();
    let (wanted, findings) = Requirements::read(&file, &UnitName::parse(name).unwrap());
    (wanted, findings.iter().map(ToString::to_string).collect())
}

fn check_metadata(lines: &str, expected: &[(&str, &[&str])]) {
    let (wanted, _) = read("a.service", lines);
    let found: Vec<(&str, Vec<&str>)> = wanted
        .metadata
        .iter()
        .map(|(key, values)| (key.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    let expected: Vec<_> = expected.iter().map(|(key, values)| (*key, values.to_vec())).collect();
    assert_eq!(found, expected, "{lines}");
}

#[test]
fn metadata() {
    check_metadata("MachineMetadata=\"foo=bar\" \"foo=baz\"\n", &[("foo", &["bar", "baz"])]);
    check_metadata("MachineMetadata=foo=bar\nX-ConditionMachineMetadata=foo=x\n", &[("foo", &["bar", "x"])]);
    check_metadata(
        "MachineMetadata=\"region=us-east-1\" \"diskType=SSD\"\nMachineMetadata=region=us-west-1\n",
        &[("diskType", &["SSD"]), ("region", &["us-east-1", "us-west-1"])],
    );
    check_metadata("MachineMetadata=a=b c=d\nMachineMetadata=k=\nMachineMetadata==v\n", &[]);
}

#[test]
fn ignored_pairs_are_reported() {
    let (_, said) = read("a.service", "MachineMetadata=a=b c=d\nMachineMetadata=k=\n");
    assert_eq!(
        said,
        [
            "line 2, column 1: warning: MachineMetadata \"a=b c=d\" is ignored: it is not `key=value`",
            "line 3, column 1: warning: MachineMetadata \"k=\" is ignored: it is not `key=value`"
        ]
    );
}

fn check_machine(lines: &str, expected: Option<&str>) {
    assert_eq!(read("a.service", lines).0.machine_id.as_deref(), expected, "{lines}");
}

#[test]
fn machine_ids() {
    check_machine("", None);
    check_machine("MachineID=1\nMachineID=2\n", Some("1"));
    check_machine("X-ConditionMachineID=1\nMachineID=2\n", Some("2"));
    check_machine("X-ConditionMachineBootID=1\nX-ConditionMachineID=2\n", Some("2"));
    check_machine("X-ConditionMachineBootID=1\n", Some("1"));
    check_machine("ConditionMachineID=1\n", None);
}

fn check_conflicts(lines: &str, expected: &[&str]) {
    let (wanted, _) = read("web@2.service", lines);
    let found: Vec<_> = wanted.conflicts.iter().map(|glob| glob.as_str()).collect();
    assert_eq!(found, expected, "{lines}");
}

#[test]
fn conflicts() {
    check_conflicts("Conflicts=b\nX-Conflicts=a\nConflicts=c\n", &["a", "b", "c"]);
    check_conflicts("Conflicts=a.service b.service\n", &["a.service", "b.service"]);
    check_conflicts("Conflicts=\"a\" \"b\"\n", &["a", "b"]);
    check_conflicts("Conflicts=%p@*.service\n", &["web@*.service"]);
    check_conflicts("Conflicts=a\nConflicts=a\n", &["a"]);
}

fn check_global(lines: &str, expected: bool) {
    assert_eq!(read("a.service", lines).0.global, expected, "{lines}");
}

#[test]
fn global() {
    for yes in ["true", "TRUE", "yes", "1", "on", "t"] {
        check_global(&format!("Global={yes}\n"), true);
    }
    for no in ["", "y", "0", "whatever"] {
        check_global(&format!("Global={no}\n"), false);
    }
    check_global("Global=true\nGlobal=no\n", false);
    check_global("X-Global=true\n", false);
}

#[test]
fn peers_and_replaces_do_not_split() {
    let (wanted, _) = read("b@1.service", "MachineOf=a@%i.service x\nX-ConditionMachineOf=c.service\n");
    assert_eq!(wanted.peers, ["c.service", "a@1.service x"]);
    let (wanted, _) = read("b.service", "Replaces=a b\n");
    assert_eq!(wanted.replaces.iter().map(|glob| glob.as_str()).collect::<Vec<_>>(), ["a b"]);
}

fn check_findings(lines: &str, expected: &[&str]) {
    assert_eq!(read("a@1.service", lines).1, expected, "{lines}");
}

#[test]
fn combinations() {
    check_findings(
        "MachineOf=a.service\nConflicts=a*.service\n",
        &["error: unresolvable requirements: peer \"a.service\" matches conflict \"a*.service\""],
    );
    check_findings(
        "MachineOf=a.service\nReplaces=a.service\n",
        &["error: unresolvable requirements: peer \"a.service\" matches replace \"a.service\""],
    );
    for (lines, text) in [
        ("MachineID=1\nMachineOf=b\n", "MachineID cannot be used with Peers"),
        ("MachineID=1\nConflicts=b\n", "MachineID cannot be used with Conflicts"),
        ("MachineID=1\nGlobal=true\n", "MachineID cannot be used with Global"),
        ("MachineID=1\nReplaces=b\n", "MachineID cannot be used with Replaces"),
        ("Global=true\nMachineOf=b\n", "Global cannot be used with Peers"),
        ("Global=true\nReplaces=b\n", "Global cannot be used with Replaces"),
        ("Conflicts=c\nReplaces=b\n", "Conflicts cannot be used with Replaces"),
        ("Global=true\nPinned=yes\n", "Global cannot be used with Pinned"),
    ] {
        check_findings(lines, &[&format!("error: {text}")]);
    }
    for fine in [
        "Global=true\nConflicts=b\n",
        "MachineID=1\nMachineMetadata=a=b\n",
        "Global=true\nMachineMetadata=a=b\n",
        "MachineOf=b\nMachineMetadata=a=b\n",
        // Specifiers are not expanded for this check.
        "MachineOf=a@1.service\nConflicts=%p@*.service\n",
    ] {
        check_findings(fine, &[]);
    }
}

#[test]
fn unknown_and_invalid_keys_are_reported_by_line() {
    check_findings(
        "Frob=1\nFrob=2\nConflicts=[a\nPinned=maybe\n",
        &[
            "line 2, column 1: warning: unrecognized requirement in [X-Fleet] section: \"Frob\"",
            "line 4, column 1: warning: syntax error in pattern \"[a\": it matches nothing",
            "line 5, column 1: error: invalid value \"maybe\" for Pinned: use `yes` or `no`",
        ],
    );
}

#[test]
fn values_are_limited() {
    let lines = format!("Conflicts={}\n", "a ".repeat(FLEET_VALUES));
    check_findings(&lines, &[]);

    check_findings(
        &format!("{lines}Replaces=b\n"),
        &["line 3, column 1: error: [X-Fleet] has more than 1024 values"],
    );
}

#[test]
fn additions() {
    let lines = "MemoryRequest=1G\nCPURequest=150%\nUpdatePolicy=rolling\nPinned=yes\nAllowOverlap=true\n\
                 StopOnPartition=no\n";
    let (wanted, said) = read("a.service", lines);
    assert_eq!(said, [""; 0]);
    assert_eq!((wanted.memory, wanted.cpu), (Some(1 << 30), Some(1500)));
    assert_eq!(wanted.update, UpdatePolicy::Rolling);
    assert!(wanted.pinned && wanted.overlap && !wanted.stop_on_partition);
    let file = UnitFile::from_text("[X-Fleet]\nMemoryRequest=lots\n").unwrap();
    let (_, findings) = Requirements::read(&file, &UnitName::parse("a.service").unwrap());
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings[0].position.unwrap().line, 2);
}
