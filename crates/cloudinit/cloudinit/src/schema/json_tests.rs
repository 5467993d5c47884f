use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};

use super::super::{Allowed, pattern};
use super::*;
use crate::yaml::{self, Node, Scalar, ScalarType};

struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.add_resource("cloud-config.json", json_schema()).unwrap();
        let mut schemas = Schemas::new();
        let index = compiler.compile("cloud-config.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn accepts(&self, text: &str) -> Result<(), String> {
        let document = yaml::read(text.as_bytes()).unwrap();
        let value = json(document.root.as_deref().unwrap());
        self.schemas.validate(&value, self.index).map_err(|error| error.to_string())
    }
}

/// Converts a document as an editor does, without the types of YAML 1.1.
fn json(node: &Node) -> Value {
    use crate::yaml::Value as Yaml;
    match &node.value {
        Yaml::Scalar(scalar) => plain(scalar),
        Yaml::List(items) => items.iter().map(|item| json(&item.node)).collect(),
        Yaml::Mapping(mapping) => {
            mapping.entries().iter().map(|entry| (entry.key.to_string(), json(&entry.node))).collect()
        }
    }
}

fn plain(scalar: &Scalar) -> Value {
    match scalar.resolve() {
        ScalarType::Null => Value::Null,
        ScalarType::Boolean(value) if matches!(&*scalar.text, "true" | "false") => json!(value),
        ScalarType::Integer(value) => json!(value),
        ScalarType::Float(value) => json!(value),
        _ => json!(&*scalar.text),
    }
}

#[test]
fn samples_are_accepted() {
    let schema = Schema::new();
    for text in [
        include_str!("../../../../../cloud-config/user-data.sample"),
        include_str!("../../tests/data/tutorial.yml"),
        "#cloud-config\nhostname: 2001\nusers: [{name: a, groups: 'a, b', sudo: false, system: yes}]\n",
        "#cloud-config\ncoreos: {update: {reboot_strategy: 'off'}, etcd2: {debug: true, max-wals: 3}}\n",
        "#cloud-config\nwrite-files: [{path: /a, permissions: '0644', encoding: gzip+base64}]\n",
        "write_files: [{path: /a, source: {uri: 'https://h/', headers: {X-Any: b}}}]\n",
    ] {
        schema.accepts(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn mistakes_are_rejected() {
    let schema = Schema::new();
    for text in [
        "hostnme: a",
        "hostname: [a]",
        "users: x",
        "write_files: [{path: /a, permissions: rw-r--r--}]",
        "write_files: [{path: /a, encoding: rot13}]",
        "coreos: {units: [{name: a.service, command: begin}]}",
        "coreos: {units: [{name: a.service, enable: 'maybe'}]}",
        "coreos: {update: {reboot_strategy: sometimes}}",
        "coreos: {etcd2: {max_wals: many}}",
        "coreos: {write_files: []}",
        "write_files: [{path: /a, source: {uri: 'https://h/', headers: {a: [b]}}}]",
    ] {
        schema.accepts(text).expect_err(text);
    }
}

/// Every key has a description, and every description has a key.
#[test]
fn every_key_is_described() {
    fn walk(keys: &[Key], parent: &str, seen: &mut BTreeSet<String>) {
        for key in keys {
            let path = if parent.is_empty() { key.name.to_owned() } else { format!("{parent}.{}", key.name) };
            assert!(description(key, &path).is_some(), "{path} is not described");
            if let ValueKind::Mapping(below) | ValueKind::List(below) = key.kind {
                walk(below, &path, seen);
            }
            seen.insert(path);
        }
    }
    let mut seen = BTreeSet::new();
    walk(DOCUMENT, "", &mut seen);
    for (path, _) in DESCRIPTIONS {
        assert!(seen.contains(*path), "{path} is described and is no key");
    }
}

const TEXTS: &[&str] = &[
    "",
    "0",
    "44",
    "644",
    "0644",
    "0o644",
    "4755",
    "04755",
    "14755",
    "0o14755",
    "9999",
    "rw",
    "b64",
    "base64",
    "gz",
    "gzip",
    "gz+base64",
    "gzip+b64",
    "b64+gz",
    "gz+",
    "Base64",
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "reload-or-try-restart",
    "try-reload",
    "starts",
    "etcd-lock",
    "reboot",
    "off",
    "on",
    "best-effort",
    "readonly",
    "12:00",
    "24:00",
    "23:59",
    "0023:0059",
    "12:60",
    "Sun 03:5",
    "THU 1:1",
    "day 1:00",
    "sun  1:00",
    "12",
    ":",
    "1h30m",
    "1.5h",
    "-2m",
    "h",
    ".5s",
    "1",
    "+",
    "1h30",
    "1 h",
    "1H",
    "+1h",
];

/// The validator's predicates and the schema's patterns are equivalent.
#[test]
fn patterns_match_the_predicates() {
    let all: &[(&str, Allowed)] = &[
        ("permissions", pattern::PERMISSIONS),
        ("encoding", pattern::ENCODING),
        ("command", pattern::COMMAND),
        ("reboot_strategy", pattern::REBOOT_STRATEGY),
        ("proxy", pattern::PROXY),
        ("window_start", pattern::WINDOW_START),
        ("window_length", pattern::WINDOW_LENGTH),
    ];
    for (name, allowed) in all {
        let pattern = regex::Regex::new(allowed.pattern).unwrap();
        for text in TEXTS {
            assert_eq!((allowed.test)(text), pattern.is_match(text), "{name}: {text:?}");
        }
    }
}
