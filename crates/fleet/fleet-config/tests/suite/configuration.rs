//! Maps arguments, environment and file to the differences from the default configuration and to warnings, or to an
//! exit code and a message.

use std::collections::BTreeMap;

use fleet_config::{Command, Facts, File, StartupError, config_path, read};
use serde_json::{Map, Value, json};

fn facts(args: &[&str], environment: &[(&str, &str)], file: &File) -> Facts {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Facts {
        args: args.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: environment.iter().map(owned).collect::<BTreeMap<_, _>>(),
        file: file.clone(),
    }
}

fn parse_config(facts: &Facts) -> (Value, Vec<String>) {
    match read(facts).unwrap() {
        Command::Run { config, warnings } => (serde_json::to_value(&config).unwrap(), warnings),
        other => panic!("{other:?}"),
    }
}

fn check_differences(environment: &[(&str, &str)], file: &str, differs: Value, warnings: &[&str]) {
    let (default, _) = parse_config(&Facts::default());
    let (config, actual_warnings) = parse_config(&facts(&[], environment, &File::Text(file.to_owned())));
    let of = |value: &Value| value.as_object().unwrap().clone();
    let different: Map<String, Value> =
        of(&config).into_iter().filter(|(key, value)| default.get(key) != Some(value)).collect();
    assert_eq!(Value::Object(different), differs, "{environment:?} {file}");
    assert_eq!(actual_warnings, warnings, "{environment:?} {file}");
}

fn check_file(file: &str, differs: Value) {
    check_differences(&[], file, differs, &[]);
}

fn check_error(args: &[&str], environment: &[(&str, &str)], file: File, exit: u8, text: &str) {
    let error = read(&facts(args, environment, &file)).unwrap_err();
    assert_eq!(error, StartupError { exit, text: text.to_owned() }, "{args:?} {environment:?} {file:?}");
}

fn check_file_error(file: &str, text: &str) {
    check_error(&[], &[], File::Text(file.to_owned()), 1, &format!("/etc/fleet/fleet.conf:{text}\n"));
}

/// The complete configuration, which the other tests compare with.
#[test]
fn default_config() {
    let expected = json!({
        "debug": false,
        "etcd": {
            "servers": ["http://127.0.0.1:2379", "http://127.0.0.1:4001"],
            "username": null, "password": "none", "key_file": null, "cert_file": null, "ca_file": null,
            "key_prefix": "/_coreos.com/fleet/", "request_timeout": 1000,
        },
        "engine_reconcile_interval": 2000, "public_ip": null, "metadata": {}, "agent_ttl": 30000,
        "units_directory": "/run/fleet/units/", "systemd_user": false, "token_limit": 100,
        "disable_engine": false, "disable_watches": false, "purge_on_stop": true,
        "capacity": r#"{"Units":null,"Memory":null,"CPU":null}"#, "partition_port": 49154,
    });
    assert_eq!(parse_config(&Facts::default()), (expected, Vec::new()));
}

#[test]
fn file_keys() {
    check_file("# all comment\n; this too\nverbosity=1\n", json!({ "debug": true }));
    check_file("verbosity = -1", json!({}));
    check_file("agent_ttl=\"120s\"", json!({ "agent_ttl": 120_000 }));
    check_file("agent_ttl='2m'\r\n", json!({ "agent_ttl": 120_000 }));
    check_file("engine_reconcile_interval=0.5", json!({ "engine_reconcile_interval": 500 }));
    check_file("public_ip=172.17.8.101", json!({ "public_ip": "172.17.8.101" }));
    check_file("public_ip=::1", json!({ "public_ip": "::1" }));
    check_file(
        "metadata=\" region = us-west , a=b=c,region=eu,,x= \"",
        json!({ "metadata": { "region": "eu", "a": "b=c", "x": "" } }),
    );
    check_file("units_directory=/tmp/u", json!({ "units_directory": "/tmp/u" }));
    check_file(
        "systemd_user=T\ndisable_engine=1\ndisable_watches=True",
        json!({
            "systemd_user": true, "disable_engine": true, "disable_watches": true,
        }),
    );
    check_file("token_limit=65535", json!({ "token_limit": 65535 }));
    check_file(
        "purge_on_stop=false\npartition_port=0",
        json!({ "purge_on_stop": false, "partition_port": null }),
    );
    check_file("partition_port=1", json!({ "partition_port": 1 }));
    check_file(
        "capacity_units=0\ncapacity_memory=8G\ncapacity_cpu=50%",
        json!({
            "capacity": r#"{"Units":0,"Memory":8589934592,"CPU":500}"#,
        }),
    );
    // The last value wins; an empty value counts as unset.
    check_file("agent_ttl=1s\nagent_ttl=2s\nagent_ttl=", json!({ "agent_ttl": 2000 }));
}

fn check_etcd(file: &str, key: &str, expect: Value) {
    let (config, warnings) = parse_config(&facts(&[], &[], &File::Text(file.to_owned())));
    assert_eq!(config["etcd"][key], expect, "{file}");
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn etcd_keys() {
    let two = json!(["http://a:2379", "http://b:2379"]);
    check_etcd("etcd_servers=[\"http://a:2379\", \"http://b:2379\"]", "servers", two.clone());
    check_etcd("etcd_servers=http://a:2379,http://b:2379", "servers", two.clone());
    check_etcd("etcd_servers=\"http://a:2379\",\"http://b:2379\"", "servers", two.clone());
    check_etcd("etcd_servers=[ 'http://a:2379' ] , [http://b:2379],", "servers", two);
    check_etcd(
        "etcd_servers=[http://[::1]:2379,http://[::2]]",
        "servers",
        json!(["http://[::1]:2379", "http://[::2]"]),
    );
    check_etcd("etcd_servers=10.0.0.1:4001", "servers", json!(["10.0.0.1:4001"]));
    check_etcd("etcd_key_prefix=a/b", "key_prefix", json!("/a/b/"));
    check_etcd("etcd_key_prefix=/", "key_prefix", json!("/"));
    check_etcd("etcd_request_timeout=2.5", "request_timeout", json!(2500));
    check_etcd("etcd_keyfile=/k", "key_file", json!("/k"));
    check_etcd("etcd_certfile=/c", "cert_file", json!("/c"));
    check_etcd("etcd_cafile=/a", "ca_file", json!("/a"));
    check_etcd("etcd_username=u", "username", json!("u"));
    check_etcd("etcd_password=hidden", "password", json!("***"));
}

#[test]
fn passwords_are_redacted() {
    let facts = facts(&[], &[("FLEET_ETCD_PASSWORD", "hidden")], &File::Missing);
    let command = read(&facts).unwrap();
    assert!(!format!("{command:?}").contains("hidden"), "{command:?}");
    let Command::Run { config, .. } = command else { panic!() };
    assert_eq!(config.etcd.password.reveal(), "hidden");
}

#[test]
fn variables_override_the_file() {
    let file = "agent_ttl=1m\npublic_ip=10.0.0.1\n";
    let variables =
        [("FLEET_AGENT_TTL", "3s"), ("FLEET_PUBLIC_IP", ""), ("FLEETCTL_TUNNEL", "x"), ("PATH", "y")];
    check_differences(&variables, file, json!({ "agent_ttl": 3000, "public_ip": "10.0.0.1" }), &[]);
    check_differences(&[("FLEET_METADATA", "a=b")], "", json!({ "metadata": { "a": "b" } }), &[]);
}

#[test]
fn warnings_of_ignored_settings() {
    check_differences(
        &[("FLEET_NONSENSE", "1")],
        "",
        json!({}),
        &["unknown variable FLEET_NONSENSE is ignored"],
    );
    check_differences(
        &[],
        "\nfoo=1\nagent-ttl=1m\n",
        json!({}),
        &[
            "/etc/fleet/fleet.conf:2: unknown key \"foo\" is ignored",
            "/etc/fleet/fleet.conf:3: unknown key \"agent-ttl\" is ignored: did you mean agent_ttl?",
        ],
    );
    check_differences(
        &[],
        "verbosity=1\n[x]\nagent_ttl=1m",
        json!({ "debug": true }),
        &["/etc/fleet/fleet.conf:2: all from this section on is ignored: fleetd's file has no sections"],
    );
    check_differences(
        &[],
        "verify_units=true\nauthorized_keys_file=/a\nenable_grpc=1",
        json!({}),
        &[
            "Config option enable_grpc is no longer supported - ignoring",
            "Config option verify_units is no longer supported - ignoring",
            "Config option authorized_keys_file is no longer supported - ignoring",
        ],
    );
    check_differences(&[], "verify_units=false\nenable_grpc=false", json!({}), &[]);
    check_differences(
        &[],
        "metadata=a=b,c,=d",
        json!({ "metadata": { "a": "b" } }),
        &[
            "metadata: \"c\" is ignored: it is not `key=value`",
            "metadata: \"=d\" is ignored: it is not `key=value`",
        ],
    );
    check_differences(
        &[],
        "public_ip=$private_ipv4",
        json!({ "public_ip": "$private_ipv4" }),
        &["public_ip: \"$private_ipv4\" is no IP address; it is published as it is"],
    );
}

#[test]
fn errors_with_file_and_line() {
    check_file_error("agent_ttl=30", "1: agent_ttl: \"30\" is no duration: it needs a unit, like 30s or 2m");
    check_file_error("\n\nagent_ttl=0", "3: agent_ttl: \"0\" is less than 1s");
    check_file_error("agent_ttl=25h", "1: agent_ttl: \"25h\" is more than a day");
    check_file_error(
        "engine_reconcile_interval=0.1",
        "1: engine_reconcile_interval: \"0.1\" is less than 200ms",
    );
    check_file_error("etcd_request_timeout=-1", "1: etcd_request_timeout: \"-1\" is less than 1ms");
    check_file_error(
        "etcd_request_timeout=1s",
        "1: etcd_request_timeout: \"1s\" is no number of seconds, like 2 or 0.5",
    );
    check_file_error(
        "etcd_request_timeout=nan",
        "1: etcd_request_timeout: \"nan\" is no number of seconds, like 2 or 0.5",
    );
    check_file_error("etcd_request_timeout=inf", "1: etcd_request_timeout: \"inf\" is more than a day");
    check_file_error("disable_engine=yes", "1: disable_engine: \"yes\" is neither `true` nor `false`");
    check_file_error("enable_grpc=yes", "1: enable_grpc: \"yes\" is neither `true` nor `false`");
    check_file_error("token_limit=0", "1: token_limit: \"0\" is no whole number from 1 to 65535");
    check_file_error(
        "partition_port=65536",
        "1: partition_port: \"65536\" is no whole number from 0 to 65535",
    );
    check_file_error(
        "capacity_units=-1",
        "1: capacity_units: \"-1\" is no whole number from 0 to 9223372036854775807",
    );
    check_file_error(
        "capacity_memory=8GB",
        "1: capacity_memory: \"8GB\" is no such amount: use bytes, or a whole number with K, M, G or T, like 512M; no more than 128T",
    );
    check_file_error(
        "capacity_cpu=x",
        "1: capacity_cpu: \"x\" is no such amount: use processors, like 2 or 0.5, or per cent of one, like 50%; no more than 100000",
    );
    check_file_error(
        "etcd_servers=[]",
        "1: etcd_servers: it names no server: use addresses like http://127.0.0.1:2379, with commas between them",
    );
    check_file_error(
        "etcd_servers=ftp://a",
        "1: etcd_servers: \"ftp://a\" is no address like http://127.0.0.1:2379",
    );
    check_file_error(
        "etcd_servers=http://",
        "1: etcd_servers: \"http://\" is no address like http://127.0.0.1:2379",
    );
    check_file_error("verbosity\n", "1: expected `key=value`");
    check_file_error("a=1\n=1", "2: expected a key before `=`");
    check_file_error("etcd_password=\"secret", "1: the value begins with a quote and does not end with it");
    check_error(
        &[],
        &[("FLEET_AGENT_TTL", "30")],
        File::Missing,
        1,
        "FLEET_AGENT_TTL: \"30\" is no duration: it needs a unit, like 30s or 2m\n",
    );
    check_error(
        &["--config", "/c"],
        &[],
        File::Text("agent_ttl=1".into()),
        1,
        "/c:1: agent_ttl: \"1\" is no duration: it needs a unit, like 30s or 2m\n",
    );
}

const USAGE: &str = "usage: fleetd [--config FILE]\n       fleetd fence\n       fleetd --version | --help\n";

fn check_printed(args: &[&str], expect: &str) {
    assert_eq!(read(&facts(args, &[], &File::Missing)), Ok(Command::Print(expect.to_owned())), "{args:?}");
}

#[test]
fn command_line() {
    for args in [
        &["--version"][..],
        &["-version"],
        &["version"],
        &["--config", "/nope", "version"],
        &["--", "version"],
    ] {
        check_printed(args, "fleetd version 1.0.0\n");
    }
    let missing = "Unable to use config file /nope: stat /nope: no such file or directory\n";
    check_error(&["--config", "/nope"], &[], File::Missing, 1, missing);
    check_error(&["-config=/nope"], &[], File::Missing, 1, missing);
    check_error(
        &["--config=/c"],
        &[],
        File::Unreadable("open /c: permission denied".into()),
        1,
        "Unable to use config file /c: open /c: permission denied\n",
    );
    check_error(
        &[],
        &[],
        File::Unreadable("is a directory".into()),
        1,
        "Unable to use config file /etc/fleet/fleet.conf: is a directory\n",
    );
    let argument = format!("fleetd takes no arguments. Did you mean to invoke fleetctl instead?\n{USAGE}");
    for args in [&["list-units"][..], &["start", "a"], &["version", "x"], &["--version", "x"], &["-"], &[""]]
    {
        check_error(args, &[], File::Missing, 1, &argument);
    }
    check_error(&["--foo"], &[], File::Missing, 2, &format!("flag provided but not defined: -foo\n{USAGE}"));
    check_error(&["--config"], &[], File::Missing, 2, &format!("flag needs an argument: -config\n{USAGE}"));
    check_error(&["---x"], &[], File::Missing, 2, &format!("bad flag syntax: ---x\n{USAGE}"));
    check_error(
        &["-version=x"],
        &[],
        File::Missing,
        2,
        &format!("invalid boolean value \"x\" for -version: parse error\n{USAGE}"),
    );
}

#[test]
fn path_of_the_file() {
    let check = |args: &[&str], expect: Option<&str>| {
        let args: Vec<String> = args.iter().map(|argument| (*argument).to_owned()).collect();
        assert_eq!(config_path(&args).as_deref(), expect.map(std::path::Path::new), "{args:?}");
    };
    check(&[], Some("/etc/fleet/fleet.conf"));
    check(&["--config", "/c"], Some("/c"));
    check(&["-config=/c", "--version=false"], Some("/c"));
    check(&["--config="], Some("/etc/fleet/fleet.conf"));
    check(&["--help"], None);
    check(&["version"], None);
    check(&["x"], None);
}

#[test]
fn help_names_every_key_with_its_default() {
    let text = |argument: &str| match read(&facts(&[argument], &[], &File::Missing)).unwrap() {
        Command::Print(text) => text,
        other => panic!("{other:?}"),
    };
    let help = text("--help");
    assert!(help.starts_with(USAGE));
    for line in [
        "  agent_ttl                    TTL of the presence of this machine, such as 30s or 2m. [30s]\n",
        "  capacity_units               Maximum number of units on this machine.\n",
        "  partition_port               UDP port to query peers about their connection to etcd; 0 disables it. [49154]\n",
        "  verify_units                 Ignored. [false]\n",
    ] {
        assert!(help.contains(line), "{line}{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 110), "{help}");
    for argument in ["-h", "-help", "-help=false", "help"] {
        assert_eq!(text(argument), help);
    }
}
