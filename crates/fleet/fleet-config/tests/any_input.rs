//! Whatever is handed in: a task or a refusal with a text, never a panic.

use fleet_config::{Facts, File, Task, file_wanted, read};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Words that mean something, between what means nothing.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "agent_ttl",
        "etcd_servers",
        "metadata",
        "capacity_cpu",
        "token_limit",
        "verbosity",
        "public_ip",
        "purge_on_stop",
        "-config",
        "--version",
        "--",
        "=",
        "\"",
        "'",
        "[",
        "]",
        ",",
        "#",
        "\n",
        "1e400",
        "9223372036854775808",
        "0.5",
        "30s",
        "http://",
        "true",
        "\u{feff}",
        "\u{2028}",
        "%",
        "K",
    ];
    prop_oneof![3 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

fn text() -> impl Strategy<Value = String> {
    vec(word(), 0..12).prop_map(|words| words.concat())
}

fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "VERBOSITY",
        "ETCD_SERVERS",
        "ETCD_KEY_PREFIX",
        "ETCD_REQUEST_TIMEOUT",
        "ENGINE_RECONCILE_INTERVAL",
        "METADATA",
        "AGENT_TTL",
        "TOKEN_LIMIT",
        "CAPACITY_UNITS",
        "CAPACITY_MEMORY",
        "CAPACITY_CPU",
        "PARTITION_PORT",
        "X",
    ])
}

fn file() -> impl Strategy<Value = File> {
    prop_oneof![
        6 => text().prop_map(File::Text),
        1 => Just(File::Missing),
        1 => text().prop_map(File::Unreadable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(
        args in prop_oneof![Just(Vec::new()), vec(text(), 0..3)],
        environment in btree_map(key().prop_map(|key| format!("FLEET_{key}")), text(), 0..4),
        file in file(),
    ) {
        let facts = Facts { args, environment, file };
        let wanted = file_wanted(&facts.args);
        match read(&facts) {
            Ok(Task::Run { config, .. }) => {
                prop_assert!(wanted.is_some());
                prop_assert!(config.agent_ttl.as_secs() >= 1 && config.token_limit > 0);
                prop_assert!(!config.etcd.servers.is_empty());
                prop_assert!(config.etcd.key_prefix.starts_with('/') && config.etcd.key_prefix.ends_with('/'));
            }
            Ok(Task::Print(text)) => prop_assert!(text.ends_with('\n') && wanted.is_none()),
            Ok(Task::Fence) => prop_assert!(wanted.is_none()),
            Err(refusal) => prop_assert!(refusal.exit != 0 && refusal.text.ends_with('\n')),
        }
    }
}
