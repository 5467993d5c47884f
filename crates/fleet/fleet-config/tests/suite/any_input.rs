//! Arbitrary input results in a command or an error, never in a panic.

use fleet_config::{Command, Facts, File, config_path, read};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Meaningful tokens, mixed with random strings.
fn token() -> impl Strategy<Value = String> {
    let tokens = [
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
    prop_oneof![3 => proptest::sample::select(tokens.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"]
}

fn text() -> impl Strategy<Value = String> {
    vec(token(), 0..12).prop_map(|tokens| tokens.concat())
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
    fn arbitrary_input_never_panics(
        args in prop_oneof![Just(Vec::new()), vec(text(), 0..3)],
        environment in btree_map(key().prop_map(|key| format!("FLEET_{key}")), text(), 0..4),
        file in file(),
    ) {
        let facts = Facts { args, environment, file };
        let path = config_path(&facts.args);
        match read(&facts) {
            Ok(Command::Run { config, .. }) => {
                prop_assert!(path.is_some());
                prop_assert!(config.agent_ttl.as_secs() >= 1 && config.token_limit > 0);
                prop_assert!(!config.etcd.servers.is_empty());
                prop_assert!(config.etcd.key_prefix.starts_with('/') && config.etcd.key_prefix.ends_with('/'));
            }
            Ok(Command::Print(text)) => prop_assert!(text.ends_with('\n') && path.is_none()),
            Ok(Command::Fence) => prop_assert!(path.is_none()),
            Err(error) => prop_assert!(error.exit != 0 && error.text.ends_with('\n')),
        }
    }
}
