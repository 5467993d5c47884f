//! `-convert`: the result on stdout, unconverted keys on stderr, and no changes.

use crate::support::Machine;

const USER_DATA: &str = include_str!("../../../cloudinit/tests/data/tutorial.yml");
const LIST: &str = include_str!("../../../cloudinit/tests/data/convert/tutorial.without");

#[test]
fn both_formats() {
    for (format, expect) in [
        ("ignition", include_str!("../../../cloudinit/tests/data/convert/tutorial.ign")),
        ("butane", include_str!("../../../cloudinit/tests/data/convert/tutorial.bu")),
    ] {
        let machine = Machine::new();
        let convert = format!("-convert={format}");
        let output = machine.run(USER_DATA, &[&convert]);
        output.expect(0, &[]);
        assert_eq!(output.stdout, expect);
        let lines = output.stderr.lines().filter(|line| line.starts_with("line "));
        assert_eq!(lines.map(|line| format!("{line}\n")).collect::<String>(), LIST);
        assert!(!machine.has("/etc/hostname") && !machine.has("/run") && !machine.has("/var"));
    }
}

#[test]
fn unconverted_keys_are_listed() {
    let machine = Machine::new();
    let read_only = "#cloud-config\nwrite_files: [{path: /usr/bin/x}]\n";
    for (text, expected) in [
        ("#!/bin/sh\n", "error: cannot convert: the user-data is a script"),
        ("{\"ignition\": {\"version\": \"3.3.0\"}}", "the user-data is an Ignition config already"),
        ("hello\n", "line 1: error: must be \"#cloud-config\""),
        ("#cloud-config\nhostname: [\n", "error: cannot convert: the user-data is not valid"),
        (read_only, "line 2: error: file cannot be written to a read-only filesystem"),
    ] {
        let output = machine.run(text, &["-convert=butane"]);
        output.expect(1, &[expected]);
        assert_eq!(output.stdout, "", "{text}");
    }
    machine.start(&["-convert=butane", "-from-file=/no/such"], &[], b"").expect(1, &["is not there"]);
    machine.start(&["-convert=butane", "-from-file=-"], &[], b"").expect(0, &["variant: flatcar"]);
}
