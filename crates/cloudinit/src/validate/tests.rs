use super::*;

fn lines(text: &str) -> Vec<String> {
    validate(text.as_bytes()).iter().map(ToString::to_string).collect()
}

fn check(text: &str, expect: &[&str]) {
    assert_eq!(lines(text), expect, "{text}");
}

#[test]
fn kinds_without_findings() {
    for text in [
        "",
        "\n",
        "#!/bin/sh\n",
        "#cloud-config\n",
        "#cloud-config\nhostname: a\n",
        "{\"ignitionVersion\":1}",
    ] {
        check(text, &[]);
    }
    check("hello", &["line 1: error: must be \"#cloud-config\" or begin with \"#!\""]);
}

#[test]
fn the_sample_that_every_machine_is_given() {
    check(include_str!("../../../../cloud-config/user-data.sample"), &[]);
}

#[test]
fn the_contracts_example() {
    check(
        "#cloud-config\nhostnme: a\nwrite_files:\n  - path: /usr/bin/x\n    permissions: \"rw\"\n",
        &[
            "line 2: warning: unrecognized key \"hostnme\" (did you mean \"hostname\"?)",
            "line 4: error: file cannot be written to a read-only filesystem",
            "line 5: error: invalid value rw",
        ],
    );
}

#[test]
fn types() {
    check(
        "#cloud-config\nhostname: [a]\nusers: x\nssh_authorized_keys: [null, {a: 1}]\ncoreos:\n  etcd2:\n    debug: 'true'\n    max_wals: 1.5\n  fleet: 3\n  units: [a, {name: x.service, enable: 1, drop_ins: {}}]\n",
        &[
            "line 2: warning: incorrect type for \"hostname\" (want string)",
            "line 3: warning: incorrect type for \"users\" (want []struct)",
            "line 4: warning: incorrect type for \"ssh_authorized_keys[0]\" (want string)",
            "line 4: warning: incorrect type for \"ssh_authorized_keys[1]\" (want string)",
            "line 6: warning: deprecated key \"etcd2\" (etcd2 is no longer shipped in Container Linux)",
            "line 7: warning: incorrect type for \"debug\" (want bool)",
            "line 8: warning: incorrect type for \"max_wals\" (want int)",
            "line 9: warning: deprecated key \"fleet\" (fleet is no longer shipped in Container Linux)",
            "line 9: warning: incorrect type for \"fleet\" (want struct)",
            "line 10: warning: incorrect type for \"units[0]\" (want struct)",
            "line 10: warning: incorrect type for \"enable\" (want bool)",
            "line 10: warning: incorrect type for \"drop_ins\" (want []struct)",
        ],
    );
}

#[test]
fn values() {
    check(
        "#cloud-config\nwrite_files:\n- path: a\n  permissions: 420\n- path: /b\n  encoding: rot13\n  content: x\n- path: /c\n  encoding: b64\n  content: aGk\nhostname: a b\nmanage_etc_hosts: yes\n",
        &[
            "line 3: warning: path \"a\" is not absolute",
            "line 4: warning: permissions 420 are read as octal (did you mean 0644?)",
            "line 6: error: invalid value rot13",
            "line 7: error: content cannot be decoded as \"rot13\"",
            "line 10: warning: content is not standard base64 with padding",
            "line 11: error: hostname \"a b\" has characters other than letters, digits, '-' and '.'",
            "line 12: error: invalid value yes",
        ],
    );
    check(
        "#cloud-config\ncoreos:\n  write_files: []\n  units:\n  - command: go\n    contents: x\n  etcd:\n    discovery: token\n    peer-addr: $private_ip4:7001\n  locksmith:\n    window_start: 25:00\nunits: []\n",
        &[
            "line 3: warning: unrecognized key \"write_files\"",
            "line 3: info: write_files doesn't belong under coreos",
            "line 5: error: invalid value go",
            "line 5: warning: unit has no name",
            "line 6: warning: unrecognized key \"contents\" (did you mean \"content\"?)",
            "line 7: warning: deprecated key \"etcd\" (etcd is no longer shipped in Container Linux)",
            "line 8: warning: discovery URL is not valid",
            "line 9: info: $private_ip4 is not replaced (did you mean $private_ipv4?)",
            "line 11: error: invalid value 25:00",
            "line 12: warning: unrecognized key \"units\"",
            "line 12: info: units belongs under coreos",
        ],
    );
}

#[test]
fn an_address_in_the_host_name_is_no_finding() {
    check("#cloud-config\nhostname: n-$private_ipv4\n", &[]);
    check("#cloud-config\nhostname: $public_ipv6\n", &[]);
    check(
        "#cloud-config\nhostname: n_$private_ipv4\n",
        &["line 2: error: hostname \"n_\" has characters other than letters, digits, '-' and '.'"],
    );
}

#[test]
fn places_are_true_even_where_a_key_stands_in_a_comment() {
    check(
        "#cloud-config\n# hostname: x\nwrite_files:\n- path: /a\n  content: |\n    permissions: y\n  permissions: rw\n",
        &["line 7: error: invalid value rw"],
    );
    let findings = validate(b"#cloud-config\nwrite_files:\n- path: /a\n  permissions: rw\n");
    assert_eq!(
        serde_json::to_string(&findings).unwrap(),
        "[{\"kind\":\"error\",\"line\":4,\"column\":3,\"message\":\"invalid value rw\"}]"
    );
}

#[test]
fn what_is_no_document_gives_one_finding() {
    check("#cloud-config\n- a\n", &["line 2: error: the document must be a mapping"]);
    check("#cloud-config\na: b: c\n", &["line 2: error: mapping values are not allowed in this context"]);
    check(
        "#cloud-config\nhostname: a\nhostname: b\n---\nx: 1\n",
        &[
            "line 3: warning: duplicate key \"hostname\" (first at line 2)",
            "line 4: warning: only the first YAML document is used",
        ],
    );
}

/// Cuts, doubles and flips bytes of real configs: whatever comes out, there are findings or none, and quickly.
#[test]
fn mangled_input_never_panics() {
    let seed_texts: [&[u8]; 3] = [
        include_bytes!("../../tests/data/tutorial.yml"),
        b"#cloud-config\na: &a [1, {b: *a}, 'x', \"y\\n\", !!str z]\n<<: {c: 1}\nd: |-\n  t\n  u\n? e\n: f\n",
        b"#cloud-config\nusers: [{name: a, groups: [b]}]\nwrite_files:\n- {path: /x, encoding: gz+b64, content: aa}\n",
    ];
    let interesting = b"{}[]:-\t\n\r'\"&*!|>%@`#?,\\ \0\xff\xc3\x1f\x8b~<";
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    for round in 0..6000 {
        let mut text = seed_texts[round % seed_texts.len()].to_vec();
        for _ in 0..=random(6) {
            let at = random(text.len());
            match random(4) {
                0 => text[at] = interesting[random(interesting.len())],
                1 => text.insert(at, interesting[random(interesting.len())]),
                2 => text.truncate(at.max(14)),
                _ => {
                    let end = (at + random(40)).min(text.len());
                    let piece = text[at..end].to_vec();
                    text.splice(at..at, piece);
                }
            }
        }
        for finding in validate(&text) {
            assert!(finding.line >= 1 && finding.column >= 1, "{finding}");
        }
    }
}
