//! Validates the output of `convert` against the rules of Ignition's spec 3.3.0: field names, types, and
//! uniqueness.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    reason = "a test stops at what it did not expect"
)]

use std::collections::BTreeSet;

use cloudinit::convert::{Format, convert};
use cloudinit::user_data::decode;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    ignition: Ignition,
    #[serde(default)]
    passwd: Passwd,
    #[serde(default)]
    storage: Storage,
    #[serde(default)]
    systemd: Systemd,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ignition {
    version: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Passwd {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct User {
    name: String,
    password_hash: Option<String>,
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
    uid: Option<i64>,
    gecos: Option<String>,
    home_dir: Option<String>,
    no_create_home: Option<bool>,
    primary_group: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    no_user_group: Option<bool>,
    no_log_init: Option<bool>,
    shell: Option<String>,
    should_exist: Option<bool>,
    system: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Group {
    name: String,
    gid: Option<i64>,
    password_hash: Option<String>,
    should_exist: Option<bool>,
    system: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Storage {
    files: Vec<File>,
    links: Vec<Link>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    overwrite: Option<bool>,
    contents: Option<Resource>,
    #[serde(default)]
    append: Vec<Resource>,
    mode: Option<u32>,
    user: Option<Owner>,
    group: Option<Owner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    source: String,
    compression: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    id: Option<i64>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    path: String,
    overwrite: Option<bool>,
    user: Option<Owner>,
    group: Option<Owner>,
    target: String,
    hard: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    name: String,
    enabled: Option<bool>,
    mask: Option<bool>,
    contents: Option<String>,
    #[serde(default)]
    dropins: Vec<DropIn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropIn {
    name: String,
    contents: Option<String>,
}

const UNIT_TYPES: [&str; 12] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "snapshot",
    "slice",
    "scope",
];

/// Expects a clean absolute path that is unique.
fn path<'a>(path: &'a str, taken: &mut BTreeSet<String>) -> &'a str {
    assert!(path.starts_with('/') && !path.ends_with('/') && !path.contains("//"), "{path}");
    assert!(taken.insert(path.to_owned()), "{path} is named twice");
    path
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) {
    let mut taken = BTreeSet::new();
    for name in names {
        assert!(!name.is_empty() && taken.insert(name), "{name:?} is empty or named twice");
    }
}

fn owner(owner: Option<&Owner>) {
    assert!(owner.is_none_or(|owner| owner.id.is_some() != owner.name.is_some()));
}

fn check(user_data: &[u8]) -> Config {
    let converted = convert(&decode(user_data.to_vec()).unwrap(), Format::Ignition).unwrap();
    let config: Config = serde_json::from_str(&converted.text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.ignition.version, "3.3.0");
    unique(config.passwd.users.iter().map(|user| &*user.name));
    unique(config.passwd.groups.iter().map(|group| &*group.name));
    for user in &config.passwd.users {
        unique(user.ssh_authorized_keys.iter().map(|key| &**key));
        unique(user.groups.iter().map(|group| &**group));
    }
    let mut taken = BTreeSet::new();
    for link in &config.storage.links {
        path(&link.path, &mut taken);
        assert!(!link.target.is_empty());
    }
    for file in &config.storage.files {
        path(&file.path, &mut taken);
        let below = |link: &Link| file.path.starts_with(&format!("{}/", link.path));
        assert!(!config.storage.links.iter().any(below), "{} is below a link", file.path);
        assert!(file.mode.is_none_or(|mode| mode <= 0o777), "{:?}", file.mode);
        assert!(file.contents.is_some() || file.overwrite != Some(true));
        for resource in file.contents.iter().chain(&file.append) {
            assert!(resource.source.starts_with("data:"), "{}", resource.source);
        }
        owner(file.user.as_ref());
        owner(file.group.as_ref());
    }
    unique(config.systemd.units.iter().map(|unit| &*unit.name));
    for unit in &config.systemd.units {
        let suffix = unit.name.rsplit_once('.').unwrap().1;
        assert!(UNIT_TYPES.contains(&suffix), "{}", unit.name);
        if unit.contents.is_some() {
            path(&format!("/etc/systemd/system/{}", unit.name), &mut taken);
        }
        assert!(unit.contents.is_none() || unit.mask != Some(true), "{} is masked", unit.name);
        for drop_in in &unit.dropins {
            assert!(drop_in.name.ends_with(".conf"), "{}", drop_in.name);
            path(&format!("/etc/systemd/system/{}.d/{}", unit.name, drop_in.name), &mut taken);
        }
    }
    config
}

#[test]
fn output_is_valid_ignition() {
    for user_data in [
        &include_bytes!("data/tutorial.yml")[..],
        include_bytes!("data/full.yml"),
        include_bytes!("data/convert/every.yml"),
        include_bytes!("data/convert/parts.mime"),
        include_bytes!("../../../../cloud-config/user-data.sample"),
        include_bytes!("../../../../cloud-config/oem.sample"),
        b"",
    ] {
        check(user_data);
    }
}

/// Duplicate names in all lists that a run accepts them in.
#[test]
fn duplicate_names_are_merged() {
    let config = check(
        b"#cloud-config
timezone: UTC
users:
  - {name: a, groups: [x, x], ssh_authorized_keys: [k, k]}
  - {name: a, ssh_authorized_keys: [k, l]}
groups: [g, g, {x: [a, a]}]
write_files:
  - {path: /a, content: one}
  - {path: /a, content: two}
  - {path: /a, append: true, content: three}
  - {path: /b, append: true, content: one}
  - {path: /b, overwrite: false, content: two}
  - {path: /etc/hostname, content: mine}
  - {path: /etc/localtime, content: mine}
  - {path: /etc/systemd/system/a.service, content: mine}
  - {path: /etc/systemd/system/m.service, content: mine}
  - {path: /etc/systemd/system/a.service.d/a.conf, content: mine}
  - {path: /etc/systemd/network/n.link, content: mine}
hostname: h
coreos:
  etcd2: {name: a}
  units:
    - {name: a.service, content: '[Service]', drop_ins: [{name: a.conf, content: one}, {name: a.conf, content: two}]}
    - {name: a.service, runtime: true, content: '[Unit]', drop_ins: [{name: a.conf, content: three}]}
    - {name: m.service, mask: true}
    - {name: n.link, mask: true}
    - {name: etcd2.service, drop_ins: [{name: 20-cloudinit.conf, content: mine}]}
",
    );
    let unit = config.systemd.units.iter().find(|unit| unit.name == "a.service").unwrap();
    assert_eq!((unit.contents.as_deref(), unit.dropins.len()), (Some("[Unit]"), 1));
    assert_eq!(unit.dropins[0].contents.as_deref(), Some("three"));
    let user = config.passwd.users.iter().find(|user| user.name == "a").unwrap();
    assert_eq!(
        (&*user.ssh_authorized_keys, &*user.groups),
        (&["k", "l"].map(str::to_owned)[..], &["x".to_owned()][..])
    );
    let file = config.storage.files.iter().find(|file| file.path == "/a").unwrap();
    assert_eq!(file.contents.as_ref().unwrap().source, "data:,twothree");
}
