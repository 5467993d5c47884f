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
fn shipped_samples_are_valid() {
    check(include_str!("../../../../../cloud-config/user-data.sample"), &[]);
    check(include_str!("../../../../../cloud-config/container-names.sample"), &[]);
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
            "line 7: warning: incorrect type for \"debug\" (want bool)",
            "line 8: warning: incorrect type for \"max_wals\" (want int)",
            "line 9: warning: incorrect type for \"fleet\" (want struct)",
            "line 10: warning: incorrect type for \"units[0]\" (want struct)",
            "line 10: warning: incorrect type for \"enable\" (want bool)",
            "line 10: warning: incorrect type for \"drop_ins\" (want []struct)",
        ],
    );
}

#[test]
fn fetched_files() {
    check(
        "#cloud-config\nwrite_files:\n- path: /a\n  source: {uri: 'https://h/', headers: {X-Any-Name: 1, b_c: null}}\n- path: /b\n  source:\n    url: 'https://h/'\n    headers: []\n- path: /c\n  source: {uri: 'http://u:hush@h/'}\n- path: /d\n  source: https://h/\n",
        &[
            "line 4: warning: incorrect type for \"b_c\" (want string)",
            "line 6: warning: source has no uri: nothing is fetched",
            "line 7: warning: unrecognized key \"url\" (did you mean \"uri\"?)",
            "line 8: warning: incorrect type for \"headers\" (want map[string]string)",
            "line 10: error: source uri is no https URL",
            "line 12: warning: incorrect type for \"source\" (want struct)",
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
            "line 6: info: encoding is one of base64, b64, gzip, gz, gzip+base64, gzip+b64, gz+base64, gz+b64",
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
            "line 5: info: command is one of start, stop, restart, reload, try-restart, reload-or-restart, reload-or-try-restart",
            "line 6: warning: unrecognized key \"contents\" (did you mean \"content\"?)",
            "line 8: warning: discovery URL is not valid",
            "line 9: info: $private_ip4 is not replaced (did you mean $private_ipv4?)",
            "line 11: error: invalid value 25:00",
            "line 12: warning: unrecognized key \"units\"",
            "line 12: info: units belongs under coreos",
        ],
    );
}

#[test]
fn ssh_keys() {
    // Fields of an Ed25519 key: the type, and 32 bytes.
    let whole = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
    let options = "command=\"x\",no-pty ";
    check(
        &format!(
            "#cloud-config\nssh_authorized_keys: ['{options}ssh-ed25519 {whole} me', 'ssh-ed25519 {whole}']\n"
        ),
        &[],
    );
    let cut = "line 3: warning: this ssh public key looks cut off";
    for key in [
        format!("ssh-ed25519 {}", &whole[..whole.len() - 8]),
        format!("ssh-ed25519 {}", &whole[..20]),
        format!("ssh-rsa {whole}"),
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...".to_owned(),
        "ssh-rsa".to_owned(),
    ] {
        check(&format!("#cloud-config\nusers:\n- {{name: a, ssh_authorized_keys: ['{key}']}}\n"), &[cut]);
    }
    check(
        "#cloud-config\nssh_authorized_keys:\n- my key\n- ' '\n",
        &["line 3: warning: this does not look like an ssh public key"],
    );
}

#[test]
fn world_readable_secrets() {
    let key = "-----BEGIN RSA PRIVATE KEY-----";
    let warning = |line: u32, what: &str, mode: &str| {
        format!("line {line}: warning: file holds {what} and with mode {mode} everybody can read it")
    };
    let file = |more: &str| format!("#cloud-config\nwrite_files:\n- path: /k\n{more}");
    for (more, expect) in [
        (format!("  content: '{key}'\n"), Some(warning(4, "a private key", "0644"))),
        (
            format!("  content: |\n    x\n    {key}\n  permissions: 0604\n"),
            Some(warning(7, "a private key", "0604")),
        ),
        ("  content: |\n    db_password = hunter2\n".into(), Some(warning(4, "a password or token", "0644"))),
        (
            "  encoding: b64\n  content: dG9rZW46IGFiYw==\n".into(),
            Some(warning(5, "a password or token", "0644")),
        ),
        (format!("  content: '{key}'\n  permissions: 0640\n"), None),
        ("  content: db_password=$PASSWORD\n".into(), None),
        ("  content: -----BEGIN CERTIFICATE-----\n".into(), None),
    ] {
        let expect: Vec<_> = expect.iter().map(String::as_str).collect();
        check(&file(&more), &expect);
        assert!(!lines(&file(&more)).concat().contains("hunter2"));
    }
}

#[test]
fn port_collisions() {
    let twice = "line 5: warning: port 2379 is used twice (first at line 4)";
    for (client, peer, expect) in [
        ("http://0.0.0.0:2379", "http://$private_ipv4:2379/", true),
        ("http://10.0.0.1:4001,http://10.0.0.1:2379", "http://10.0.0.1:2379", true),
        ("http://[::]:2379", "http://[fd00::1]:2379", true),
        ("http://10.0.0.1:2379", "http://10.0.0.2:2379", false),
        ("http://10.0.0.1:2379,http://127.0.0.1:2379", "http://10.0.0.1:2380", false),
        ("unix:///x", "http://a", false),
    ] {
        let text = format!(
            "#cloud-config\ncoreos:\n  etcd2:\n    listen-client-urls: {client}\n    listen-peer-urls: {peer}\n"
        );
        check(&text, &[twice][..usize::from(expect)]);
    }
    check(
        "#cloud-config\ncoreos:\n  etcd: {addr: '$public_ipv4:4001', bind_addr: '0.0.0.0:4001', peer_addr: '$public_ipv4:4001'}\n",
        &["line 3: warning: port 4001 is used twice (first at line 3)"],
    );
    check(
        "#cloud-config\ncoreos:\n  units:\n  - name: a.socket\n    content: |\n      [Socket]\n      ListenStream=2375\n      \
         ListenDatagram=2375\n      ListenStream=/run/x\n  - name: b.socket\n    content: |\n      [Socket]\n      \
         ListenStream=127.0.0.1:2375\n  - name: c.service\n    content: |\n      [Service]\n      ListenStream=2375\n",
        &[
            "line 11: warning: port 2375 is used twice (first at line 5)",
            "line 15: warning: service has no ExecStart: systemd will not start it",
        ],
    );
}

#[test]
fn ineffective_units() {
    check(
        "#cloud-config\ncoreos:\n  units:\n  - name: a.service\n    command: start\n    content: |\n      [Unit]\n      \
         After=docker.service multi-user.target\n  - name: b.service\n    drop_ins: [{name: x.conf, content: 'A=b'}]\n  \
         - name: c.service\n    enable: true\n    content: |\n      # first\n      Description=x\n      [Unit]\n      \
         After=multi-user.target\n",
        &[
            "line 6: warning: service has no ExecStart: systemd will not start it",
            "line 6: warning: unit is started here but waits for multi-user.target, which waits for this run",
            "line 10: warning: drop-in content has a line outside of any section",
            "line 13: warning: service has no ExecStart: systemd will not start it",
            "line 13: warning: unit content has a line outside of any section",
            "line 13: warning: unit is to be enabled but has no [Install] section",
        ],
    );
    for block in ["etcd", "etcd2"] {
        for (url, warning) in [
            ("token", Some("discovery URL is not valid")),
            (
                "https://discovery.etcd.io/<token>",
                Some("discovery URL still has a placeholder for its token"),
            ),
            ("https://discovery.etcd.io/d54166", None),
        ] {
            let text = format!("#cloud-config\ncoreos:\n  {block}:\n    discovery: {url}\n");
            let found: Vec<_> =
                lines(&text).into_iter().filter(|line| !line.contains("deprecated")).collect();
            let expect: Vec<_> =
                warning.iter().map(|warning| format!("line 4: warning: {warning}")).collect();
            assert_eq!(found, expect, "{text}");
        }
    }
}

#[test]
fn passwords_that_are_not_hashed() {
    check(
        "#cloud-config\nusers:\n- name: a\n  passwd: hunter2\n- {name: b, passwd: '*'}\n- {name: c, passwd: $6$x$y}\n",
        &["line 4: warning: passwd must be a hash, which starts with '$'"],
    );
}

#[test]
fn tokens_in_hostname_are_accepted() {
    check("#cloud-config\nhostname: n-$private_ipv4\n", &[]);
    check("#cloud-config\nhostname: $public_ipv6\n", &[]);
    check(
        "#cloud-config\nhostname: n_$private_ipv4\n",
        &["line 2: error: hostname \"n_\" has characters other than letters, digits, '-' and '.'"],
    );
}

#[test]
fn locations_ignore_keys_in_comments() {
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
fn non_document_gives_one_finding() {
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

#[test]
fn parts_of_a_multipart() {
    let text = "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/cloud-config\n\nhostnme: a\n\
                --b\nContent-Transfer-Encoding: base64\n\nI2Nsb3VkLWNvbmZpZwphOiBiOiBjCg==\n--b\n\
                Content-Type: text/jinja2\n\nx\n--b\nContent-Disposition: x; filename=f\n\nx\n";
    check(
        text,
        &[
            "line 6: warning: unrecognized key \"hostnme\" (did you mean \"hostname\"?)",
            "line 10: error: part 2, line 2: mapping values are not allowed in this context",
            "line 14: info: part 3: ignoring part of type text/jinja2",
            "line 18: error: part 4 (\"f\"): Unrecognized user-data format",
            "line 18: warning: the end marker \"--b--\" is missing",
        ],
    );
    check("Content-Type: multipart/mixed\n\n--b\n", &["line 3: error: multipart without a boundary"]);
    let fix = validate(text.as_bytes())[0].fix.clone().unwrap();
    assert_eq!((fix.line, fix.column, &*fix.replaces, &*fix.with), (6, 1, "hostnme", "hostname"));
}

/// Mutates real configs: validation never panics and takes limited time.
#[test]
fn mangled_input_never_panics() {
    let seed_texts: [&[u8]; 4] = [
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: multipart/x; boundary=\"c\"\n\n--c\n\
          Content-Transfer-Encoding: quoted-printable\n\n#cloud-config\na=3D: b=\n--c--\n--b\n\nx\n--b--\n",
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

/// Applying a fix removes its finding.
#[test]
fn fixes_resolve_their_findings() {
    for (text, mended) in [
        ("#cloud-config\nhost-nme: a\n", "#cloud-config\nhostname: a\n"),
        ("#cloud-config\n{\"hostnme\": a}\n", "#cloud-config\n{\"hostname\": a}\n"),
        (
            "#cloud-config\ncoreos:\n  units:\n    - {name: a.service, contents: \"[Unit]\"}\n",
            "#cloud-config\ncoreos:\n  units:\n    - {name: a.service, content: \"[Unit]\"}\n",
        ),
        (
            "#cloud-config\nwrite_files: [{path: /a, permissions: 420}]\n",
            "#cloud-config\nwrite_files: [{path: /a, permissions: \"0644\"}]\n",
        ),
        (
            "#cloud-config\n# \u{e4}\ncoreos: {fleet: {public-ip: $public_ip4}}\n",
            "#cloud-config\n# \u{e4}\ncoreos: {fleet: {public-ip: $public_ipv4}}\n",
        ),
        ("hostname: a\n", "#cloud-config\nhostname: a\n"),
    ] {
        let findings = validate(text.as_bytes());
        let finding = findings.iter().find(|finding| finding.fix.is_some()).expect(text);
        assert_eq!(finding.fix.as_ref().unwrap().apply(text), mended);
        assert!(validate(mended.as_bytes()).iter().all(|left| left.message != finding.message), "{mended}");
    }
    for text in ["hello", "a: b\n", "#Cloud-Config\nx: y\n"] {
        assert!(validate(text.as_bytes()).iter().all(|finding| finding.fix.is_none()), "{text}");
    }
}

#[test]
fn original_only_findings() {
    let text = "#cloud-config\ncoreos:\n  etcd: {name: a}\n  etcd2: {name: a}\n  fleet: {metadata: a=b}\n";
    check(text, &[]);
    let all: Vec<String> = validate_as_original(text.as_bytes()).iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "line 3: warning: deprecated key \"etcd\" (etcd is no longer shipped in Container Linux)",
            "line 4: warning: deprecated key \"etcd2\" (etcd2 is no longer shipped in Container Linux)",
            "line 5: warning: deprecated key \"fleet\" (fleet is no longer shipped in Container Linux)",
        ]
    );
}

#[test]
fn unstartable_and_duplicate_units() {
    let unit = |name: &str, content: &str| format!("  - name: {name}\n    content: \"{content}\"\n");
    let begin = "#cloud-config\ncoreos:\n  units:\n".to_owned();
    let nothing = "line 5: warning: service has no ExecStart: systemd will not start it";
    check(&(begin.clone() + &unit("a.service", "[Unit]\\nDescription=a")), &[nothing]);
    check(&(begin.clone() + &unit("a.service", "[Service]\\nExecStop=/a")), &[]);
    check(&(begin.clone() + &unit("a.timer", "[Timer]\\nOnBootSec=1")), &[]);
    let drop_in = "    drop_ins: [{name: a.conf, content: \"[Service]\\nExecStart=/a\"}]\n";
    check(&(begin.clone() + &unit("a.service", "[Unit]") + drop_in), &[]);
    let twice =
        begin + &unit("a.service", "[Service]\\nExecStart=/a") + "  - name: a.service\n    command: start\n";
    check(&twice, &["line 6: warning: unit a.service is there twice (first at line 4)"]);
}
