//! User-data of any kind, compressed or not: the validator's findings, and the plan.

use std::io::Write as _;

use cloudinit::encoding::is_gzip;
use cloudinit::limits::{MAX_FILE_BYTES, MAX_FINDINGS, MAX_HOSTNAME_BYTES};
use cloudinit::plan::{Action, FileKind, FileWrite, Plan, print};
use cloudinit::user_data::decode;
use cloudinit::{Finding, Severity, preview};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "user_data",
    about: "user-data gives findings with their places and a plan that names only what it may, packed or not",
    run,
    seeds,
};

const COMMANDS: [&str; 7] =
    ["start", "stop", "restart", "reload", "try-restart", "reload-or-restart", "reload-or-try-restart"];

fn run(bytes: &[u8]) {
    let report = validate_and_plan(bytes);
    if is_gzip(bytes) {
        assert_eq!(report, validate_and_plan(bytes));
    } else {
        assert_eq!(report, validate_and_plan(&gzip(bytes)));
    }
}

/// The findings and the plan, after checking them.
fn validate_and_plan(raw: &[u8]) -> (Vec<Finding>, Option<String>) {
    let preview = preview(raw);
    let lines = decode(raw.to_vec()).map_or(1, |decoded| 1 + line_breaks(&decoded.text));
    check_findings(&preview.findings, lines);
    let refused = preview.findings.iter().any(|finding| finding.kind == Severity::Error);
    match preview.kind {
        "empty" | "script" | "ignition" => assert!(preview.findings.is_empty(), "{:?}", preview.findings),
        "cloud-config" => assert!(preview.plan.is_some() || refused, "refused, and the validator is silent"),
        "multipart" => {}
        kind => assert!(kind == "unknown" && preview.plan.is_none() && refused, "{kind}"),
    }
    let printed = preview.plan.map(|plan| {
        check_plan(&plan);
        print(&plan).unwrap()
    });
    for line in printed.iter().flat_map(|text| text.lines()) {
        let step: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(step["op"].is_string() && step["why"].is_string(), "{line}");
        assert!(step["op"] != "passwd" || step["hash"] == "***", "{line}");
    }
    (preview.findings, printed)
}

fn line_breaks(text: &[u8]) -> u32 {
    // YAML has more line breaks than other formats.
    let text = String::from_utf8_lossy(text);
    u32::try_from(text.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count()).unwrap()
}

fn check_findings(findings: &[Finding], lines: u32) {
    assert!(findings.len() <= MAX_FINDINGS);
    assert!(findings.is_sorted_by_key(|finding| (finding.line, finding.kind)), "{findings:?}");
    for finding in findings {
        assert!((1..=lines).contains(&finding.line) && finding.column >= 1, "{finding:?}, {lines} lines");
        // Each is one line of a log.
        assert!(!finding.message.is_empty() && !finding.message.contains('\n'), "{finding:?}");
    }
}

fn check_plan(plan: &Plan) {
    for step in &plan.steps {
        assert!(!step.why.is_empty());
        match &step.action {
            Action::Hostname { name } => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
                assert!(name.len() <= MAX_HOSTNAME_BYTES && name.chars().all(plain), "{name:?}");
            }
            Action::UserAdd { name, arguments } => {
                check_account(name);
                assert!(arguments.iter().all(|argument| !argument.contains(['\n', '\0'])), "{arguments:?}");
            }
            Action::GroupAdd { name } | Action::LockPassword { name } => check_account(name),
            Action::GroupMember { group, user } => {
                check_account(group);
                check_account(user);
            }
            Action::Password { name, hash } => {
                check_account(name);
                assert!(!hash.0.contains([':', '\n', '\0']), "a hash that is more than one");
            }
            Action::SshKeys { user, keys, .. } => {
                check_account(user);
                assert!(keys.iter().all(|key| !key.trim().is_empty()));
            }
            Action::ImportKeys { user, name, .. } => {
                check_account(user);
                // A file's, in addition to other sources.
                assert!(
                    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']),
                    "{name:?}"
                );
            }
            Action::Write(write) => check_file(write),
            Action::Fetch { write, from, .. } => {
                check_file(write);
                assert!(from.url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")));
                assert!(
                    from.headers.iter().all(|(name, value)| !(name.contains(':') || value.contains('\n')))
                );
            }
            Action::Mask { path } | Action::Unmask { path } => {
                let below = ["/etc/systemd/", "/run/systemd/"].iter().any(|at| path.starts_with(at));
                assert!(below && is_clean(path), "{path:?}");
            }
            Action::Enable { unit: name, .. } => check_unit(name),
            Action::Unit { unit: name, command, .. } => {
                check_unit(name);
                assert!(COMMANDS.contains(&&**command), "{command:?}");
            }
            Action::InterfaceDown { .. } | Action::Modprobe { .. } => panic!("no network was described"),
            Action::TimeZone { name } => assert!(is_clean(&format!("/{name}")), "{name:?}"),
            Action::DaemonReload | Action::Script { .. } => {}
        }
    }
}

fn check_account(name: &str) {
    assert!(!name.is_empty() && !name.starts_with('-') && !name.contains([':', '/', '\n', '\0']), "{name:?}");
}

fn check_unit(name: &str) {
    let bad = |c: char| c == '/' || c.is_control() || c.is_whitespace();
    assert!(name.contains('.') && !name.contains(bad) && !name.contains(".."), "{name:?}");
}

fn check_file(write: &FileWrite) {
    assert!(is_clean(&write.path) && write.mode <= 0o7777, "{write:?}");
    assert!(write.content.len() <= MAX_FILE_BYTES, "{write:?}");
    assert!(!write.owner.contains(['\n', '\0']), "{write:?}");
    match &write.kind {
        FileKind::Unit { name, .. } => check_unit(name),
        FileKind::DropIn { unit: of, name, .. } => {
            check_unit(of);
            assert!(!name.contains(['/', '\0', '\n']) && !name.contains(".."), "{name:?}");
        }
        FileKind::File | FileKind::CreateOnly | FileKind::Append { .. } | FileKind::Sudoers => {}
    }
}

/// An absolute path without `..`.
fn is_clean(path: &str) -> bool {
    let named = |part: &str| !matches!(part, "" | "." | "..");
    path.strip_prefix('/').is_some_and(|path| path.split('/').all(named)) && !path.contains('\0')
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn seeds() -> Vec<Vec<u8>> {
    let full = include_bytes!("../../../../cloudinit/cloudinit/tests/data/full.yml").to_vec();
    let tutorial = include_bytes!("../../../../cloudinit/cloudinit/tests/data/tutorial.yml").to_vec();
    let invalid_text: [&[u8]; 9] = [
        b"#cloud-config\r\nhostname: a\r\nwrite-files:\n- {path: /x, encoding: gz+b64, permissions: 420, owner: a:b}\n\
          write_files:\n- {path: ../y, append: true, content: !!binary aGk=}\n",
        b"#cloud-config\nruncmd: [a, [b, c]]\nntp: {servers: [192.0.2.1]}\ntimezone: Europe/Berlin\nlocale: C\n\
          groups: [g: [u]]\nmanage_etc_hosts: localhost\nchpasswd: {list: 'a:b'}\nca_certs: {trusted: [x]}\n",
        b"#cloud-config\ncoreos: {units: [{name: a.service, command: start, drop-ins: [{name: b.conf, content: x}]}],\
          update: {reboot-strategy: off}, locksmith: {window_start: Thu 12:00, window_length: 1h}}\n",
        b"#cloud-config\na: &a [x, &b {<<: {c: d}}]\nb: *a\nhostname: \"\\n\"\n---\nmore\n",
        b"#!/bin/bash\r\necho $private_ipv4\n",
        b"{\"ignition\": {\"version\": \"3.4.0\"}}",
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/x-shellscript\n\n#!/bin/sh\n--b\n\n\
          #cloud-config\nhostname: a b\n--b--\n",
        b"I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogYQo=",
        b"\xef\xbb\xbf#cloud-config\nssh_authorized_keys: [ssh-rsa A]\nusers: [{name: u, passwd: $6$a$b, groups: a}]\n\
          write_files: [{path: /f, source: {uri: 'https://h/', headers: {A: b}}}]\n",
    ];
    let mut seeds = vec![gzip(&gzip(&tutorial)), full, tutorial];
    seeds.extend(invalid_text.map(<[u8]>::to_vec));
    seeds
}
