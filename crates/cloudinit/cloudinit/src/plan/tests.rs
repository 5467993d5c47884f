use super::super::print::print;
use super::*;
use crate::{check, config, template, yaml};

fn settings() -> Settings {
    Settings { ssh_key_name: "coreos-cloudinit".into() }
}

fn addresses() -> Addresses {
    Addresses {
        private_ipv4: Some("10.0.0.1".into()),
        public_ipv4: Some("10.0.0.1".into()),
        ..Addresses::default()
    }
}

fn planned(text: &str, facts: &Facts) -> Plan {
    let substituted = template::substitute(text.as_bytes(), &addresses());
    let document = yaml::read(&substituted.text).unwrap();
    let checked = check::check(&config::read(document.root.as_deref())).unwrap();
    plan(&checked, &addresses(), facts, &settings())
}

fn golden(text: &str, facts: &Facts, expect: &str) {
    let got = print(&planned(text, facts)).unwrap();
    assert!(got == expect, "--- got\n{got}--- expected\n{expect}");
}

#[test]
fn the_tutorials_file() {
    golden(
        include_str!("../../tests/data/tutorial.yml"),
        &Facts::default(),
        include_str!("../../tests/data/tutorial.plan"),
    );
}

#[test]
fn every_kind_of_step() {
    let facts = Facts {
        users: ["core".to_owned()].into(),
        groups: ["docker".to_owned()].into(),
        update_conf: "GROUP=stable\nSERVER=x\n".into(),
        environment: "COREOS_PRIVATE_IPV4=10.0.0.1\nCOREOS_PUBLIC_IPV4=10.0.0.1\n".into(),
        hostname: "old".into(),
        ..Facts::default()
    };
    golden(include_str!("../../tests/data/full.yml"), &facts, include_str!("../../tests/data/full.plan"));
}

/// Expects these lines in the drop-in for `coreos.fleet`, or no file.
fn check_fleet(keys: &str, expect: &[&str]) {
    let plan = planned(&format!("coreos: {{fleet: {{{keys}}}}}"), &Facts::default());
    let content = plan.steps.iter().find_map(|step| match &step.action {
        Action::Write(write) if write.path == "/run/systemd/system/fleet.service.d/20-cloudinit.conf" => {
            Some(String::from_utf8_lossy(&write.content).into_owned())
        }
        _ => None,
    });
    let lines: String = expect.iter().map(|line| format!("Environment=\"{line}\"\n")).collect();
    let file = (!expect.is_empty()).then(|| format!("[Service]\n{lines}"));
    assert_eq!(content, file, "{keys}");
}

#[test]
fn service_values_are_quoted_for_systemd() {
    check_fleet("metadata: 'a=\"b\\c\", x=%i'", &["FLEET_METADATA=a=\\\"b\\\\c\\\", x=%%i"]);
}

#[test]
fn every_setting_of_fleet_in_the_order_of_the_contract() {
    check_fleet(
        "units-directory: /run/u, systemd-user: yes, purge-on-stop: true, enable-grpc: true, disable_watches: on, \
         partition-port: 7, capacity-units: 100, capacity-memory: 8G, capacity-cpu: 0.5, \
         verify-units: true, verbosity: 1, token-limit: 5, public-ip: $public_ipv4, metadata: 'region=eu,disk=ssd', \
         etcd-password: p, etcd-username: u, etcd-servers: 'http://a:2379,http://b:2379', etcd_request_timeout: 2, \
         etcd-key-prefix: /x, etcd-keyfile: /k, etcd-certfile: /c, etcd-cafile: /ca, engine-reconcile-interval: 0.5, \
         disable-engine: true, authorized-keys-file: /a, agent-ttl: 120s",
        &[
            "FLEET_AGENT_TTL=120s",
            "FLEET_AUTHORIZED_KEYS_FILE=/a",
            "FLEET_DISABLE_ENGINE=true",
            "FLEET_ENGINE_RECONCILE_INTERVAL=0.5",
            "FLEET_ETCD_CAFILE=/ca",
            "FLEET_ETCD_CERTFILE=/c",
            "FLEET_ETCD_KEYFILE=/k",
            "FLEET_ETCD_KEY_PREFIX=/x",
            "FLEET_ETCD_REQUEST_TIMEOUT=2",
            "FLEET_ETCD_SERVERS=http://a:2379,http://b:2379",
            "FLEET_ETCD_USERNAME=u",
            "FLEET_ETCD_PASSWORD=p",
            "FLEET_METADATA=region=eu,disk=ssd",
            "FLEET_PUBLIC_IP=10.0.0.1",
            "FLEET_TOKEN_LIMIT=5",
            "FLEET_VERBOSITY=1",
            "FLEET_VERIFY_UNITS=true",
            "FLEET_CAPACITY_CPU=0.5",
            "FLEET_CAPACITY_MEMORY=8G",
            "FLEET_CAPACITY_UNITS=100",
            "FLEET_DISABLE_WATCHES=true",
            "FLEET_ENABLE_GRPC=true",
            "FLEET_PARTITION_PORT=7",
            "FLEET_PURGE_ON_STOP=true",
            "FLEET_SYSTEMD_USER=true",
            "FLEET_UNITS_DIRECTORY=/run/u",
        ],
    );
}

#[test]
fn zero_values_are_passed_only_where_meaningful() {
    check_fleet("disable-engine: false, verbosity: 0, metadata: ''", &[]);
    check_fleet("purge-on-stop: no", &["FLEET_PURGE_ON_STOP=false"]);
    check_fleet(
        "capacity-units: 0, partition-port: 0",
        &["FLEET_CAPACITY_UNITS=0", "FLEET_PARTITION_PORT=0"],
    );
    check_fleet("purge_on_stop: 'false'", &[]);
}

#[test]
fn scripts_lose_the_carriage_return_of_their_first_line_only() {
    let mut plan = Plan::default();
    add_scripts(&mut plan, &[], &[b"#!/bin/sh\r\necho a\r\n".to_vec()]);
    let Action::Script { content, chained: false } = &plan.steps[0].action else { panic!("no script") };
    assert_eq!(&**content, b"#!/bin/sh\necho a\r\n");
}

#[test]
fn secrets_are_not_printed() {
    let plan = planned(
        "users: [{name: a, passwd: $6$secret}]\nwrite_files: [{path: /k, content: topsecret}]",
        &Facts::default(),
    );
    let text = format!("{}{plan:?}", print(&plan).unwrap());
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn the_tutorials_etcd_options_become_a_drop_in() {
    let plan = planned(include_str!("../../tests/data/tutorial.yml"), &Facts::default());
    let content = plan.steps.iter().find_map(|step| match &step.action {
        Action::Write(write) if write.path == "/run/systemd/system/etcd.service.d/20-cloudinit.conf" => {
            Some(String::from_utf8_lossy(&write.content).into_owned())
        }
        _ => None,
    });
    let expect = "[Service]\nEnvironment=\"ETCD_ADDR=10.0.0.1:4001\"\n\
                  Environment=\"ETCD_DISCOVERY=https://discovery.etcd.io/d54166dee3e709cf35b0d78913621df6\"\n\
                  Environment=\"ETCD_NAME=coreos0\"\nEnvironment=\"ETCD_PEER_ADDR=10.0.0.1:7001\"\n";
    assert_eq!(content.as_deref(), Some(expect));
}

#[test]
fn the_last_entry_for_a_path_wins() {
    let plan = planned(
        "write_files: [{path: /a, content: first}, {path: //a, content: last!}, {path: /etc/hosts}]\n\
         manage_etc_hosts: localhost\ncoreos: {units: [{name: b.service, content: x, mask: true}]}",
        &Facts { hostname: "h".into(), extra_hosts: "10.0.2.2 x\n".into(), ..Facts::default() },
    );
    let written: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Write(write) if write.path != "/etc/environment" => Some(format!("{write:?}")),
            Action::Mask { path } => Some(format!("mask {path}")),
            _ => None,
        })
        .collect();
    let hosts = "/etc/hosts 0644 \"\" 57 bytes";
    assert_eq!(written, ["/a 0644 \"\" 5 bytes", hosts, "mask /etc/systemd/system/b.service"]);
}

#[test]
fn files_that_are_kept_or_added_to() {
    let plan = planned(
        "write_files:\n- {path: /a, content: one}\n- {path: /a, content: two, append: true}\n\
         - {path: /a, content: no, overwrite: false}\n- {path: /b, content: x, append: true, permissions: 0600}\n\
         - {path: /b, content: y, append: true}\n- {path: /c, overwrite: false, defer: true}\n\
         - {path: /d, content: lost, append: true}\n- {path: /d, content: last}\n\
         coreos: {units: [{name: b.service, content: x, command: start}]}",
        &Facts::default(),
    );
    let got = print(&plan).unwrap();
    let got: Vec<_> = got.lines().filter(|line| !line.contains("unmask")).collect();
    let expect = [
        ("/a", "size\":6", ""),
        ("/b", "size\":2", "\"existing\":\"append\""),
        ("/d", "size\":4", ""),
        ("/etc/environment", "", ""),
        ("/etc/systemd/system/b.service", "", ""),
        ("/c", "", "\"existing\":\"keep\""),
        ("daemon-reload", "", ""),
        ("b.service", "start", ""),
    ];
    assert_eq!(got.len(), expect.len(), "{got:#?}");
    for (line, (path, size, existing)) in got.iter().zip(expect) {
        assert!(line.contains(path) && line.contains(size) && line.contains(existing), "{line}");
        assert_eq!(line.contains("existing"), !existing.is_empty(), "{line}");
    }
    assert!(plan.notes.contains(&"Skipping /a: an earlier entry writes it".into()));
}

/// Addresses are substituted before content is decompressed, so that compressed content keeps its tokens.
#[test]
fn packed_content_keeps_its_tokens() {
    let plan = planned(
        "write_files: [{path: /a, encoding: b64, content: JHByaXZhdGVfaXB2NA==}, {path: /b, content: $private_ipv4}]",
        &Facts::default(),
    );
    let contents: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Write(write) if !write.path.starts_with("/etc") => {
                Some(String::from_utf8_lossy(&write.content))
            }
            _ => None,
        })
        .collect();
    assert_eq!(contents, ["$private_ipv4", "10.0.0.1"]);
}

#[test]
fn users_with_uid_and_locked_password() {
    let plan = planned(
        "users: [{name: a, uid: 1500, passwd: $6$x, lock_passwd: true}, {name: b, lock_passwd: true}]",
        &Facts::default(),
    );
    let got: Vec<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::UserAdd { name, arguments } => Some(format!("{name} {}", arguments.join(" "))),
            Action::Password { name, hash } => Some(format!("{name} {}", hash.0)),
            _ => None,
        })
        .collect();
    assert_eq!(got, ["a --create-home --uid 1500", "a !$6$x", "b --create-home"]);
}

/// `useradd` creates a group with the user's name, except with `--no-user-group` or `--gid`.
#[test]
fn group_of_an_earlier_user_exists() {
    let plan = planned(
        "users: [{name: a}, {name: b, no-user-group: true}, {name: c, groups: [a, b]}]",
        &Facts::default(),
    );
    let added = plan.steps.iter().find_map(|step| match &step.action {
        Action::UserAdd { name, arguments } if name == "c" => Some(arguments.join(" ")),
        _ => None,
    });
    assert_eq!(added.as_deref(), Some("--create-home --groups a"));
    assert_eq!(plan.notes, ["Warning: group 'b' of user 'c' does not exist"]);
}
