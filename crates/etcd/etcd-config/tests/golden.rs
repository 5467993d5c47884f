//! Golden tests in `tests/cases`: arguments, environment and facts, and the resulting difference from the default
//! configuration, or the exit code and text. `BLESS=1` writes the current results; review the diff.
//!
//! A case, up to an empty line:
//!     # what it shows
//!     $ arguments, split at spaces
//!     env NAME=value | host NAME | route IP | interface IP | file PATH = text, \n for line breaks | node
//!     config {..} and warn ..., or exit N and the text, or print and the first line

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use etcd_config::{Facts, Task};
use serde_json::{Map, Value};

#[test]
fn every_case_has_the_recorded_result() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut count = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let blocks: Vec<_> = text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()).collect();
        let results: Vec<_> = blocks.iter().map(|block| evaluate(block)).collect();
        count += blocks.len();
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, results.join("\n\n") + "\n").unwrap();
            continue;
        }
        for (block, result) in blocks.iter().zip(&results) {
            assert_eq!(*block, result, "in {} (left: the file, right: now)", file.display());
        }
    }
    assert!(count >= 60, "only {count} cases were found");
}

/// The block's input, with the result of evaluating it.
fn evaluate(block: &str) -> String {
    let mut kept = Vec::new();
    let mut facts = bare();
    for line in block.lines() {
        let (argument, rest) = line.split_once(' ').unwrap_or((line, ""));
        match argument {
            "#" => {}
            "$" => facts.arguments = rest.split_whitespace().map(str::to_owned).collect(),
            "env" => {
                let (name, value) = rest.split_once('=').unwrap();
                facts.environment.insert(name.to_owned(), value.to_owned());
            }
            "host" => facts.hostname = rest.to_owned(),
            "route" => facts.default_route_address = Some(rest.parse().unwrap()),
            "interface" => drop(facts.interface_addresses.insert(rest.parse().unwrap())),
            "file" => {
                let (path, text) = rest.split_once(" = ").unwrap();
                facts.files.insert(PathBuf::from(path), Ok(text.replace("\\n", "\n")));
            }
            _ => continue,
        }
        kept.push(line.to_owned());
    }
    let mut out = kept.join("\n");
    match etcd_config::read(&facts) {
        Ok(Task::Run { config, warnings }) => {
            write!(out, "\nconfig {}", difference(&serde_json::to_value(&config).unwrap())).unwrap();
            for warning in warnings {
                write!(out, "\nwarn {warning}").unwrap();
            }
        }
        Ok(Task::Print(text)) => write!(out, "\nprint {}", text.lines().next().unwrap_or_default()).unwrap(),
        Ok(Task::Version { reported_version }) => write!(out, "\nversion {reported_version}").unwrap(),
        Err(error) => {
            // The usage that follows is always the same.
            let first = error.text.split("usage:").next().unwrap_or_default().trim_end();
            write!(out, "\nexit {} {}", error.exit, first.replace('\n', " | ")).unwrap();
        }
    }
    out
}

fn bare() -> Facts {
    Facts { hostname: "host-a".to_owned(), environment: BTreeMap::new(), ..Facts::default() }
}

fn difference(config: &Value) -> Value {
    let Task::Run { config: plain, .. } = etcd_config::read(&bare()).unwrap() else { panic!("bare") };
    let plain = serde_json::to_value(plain).unwrap();
    let differs = |(key, value): &(&String, &Value)| plain.get(key.as_str()) != Some(*value);
    let map: Map<String, Value> = config
        .as_object()
        .unwrap()
        .iter()
        .filter(differs)
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    Value::Object(map)
}

/// The complete default configuration, against which the cases are compared.
#[test]
fn the_default_configuration_is_that_of_2_3_8() {
    let Task::Run { config, .. } = etcd_config::read(&bare()).unwrap() else { panic!("bare") };
    let expected = serde_json::json!({
        "name": "default", "data-dir": "default.etcd", "wal-dir": null, "snapshot-count": 10000,
        "max-snapshots": 5, "max-wals": 5, "heartbeat-interval-ms": 100, "election-timeout-ms": 1000,
        "listen-peer": ["http://localhost:2380", "http://localhost:7001"],
        "listen-client": ["http://localhost:2379", "http://localhost:4001"],
        "listen-metrics": [],
        "advertise-peer": ["http://localhost:2380", "http://localhost:7001"],
        "advertise-client": ["http://localhost:2379", "http://localhost:4001"],
        "client-tls": {"cert-file": null, "key-file": null, "trusted-ca-file": null, "client-cert-auth": false, "auto": false},
        "peer-tls": {"cert-file": null, "key-file": null, "trusted-ca-file": null, "client-cert-auth": false, "auto": false},
        "cors": "off", "host-whitelist": [],
        "founding": {"by": "static", "state": "new", "token": "etcd-cluster",
            "cluster": "default=http://localhost:2380,default=http://localhost:7001"},
        "force-new-cluster": false, "strict-reconfig-check": false,
        "proxy": {"mode": "off", "failure-wait-ms": 5000, "refresh-interval-ms": 30000,
            "dial-timeout-ms": 1000, "write-timeout-ms": 5000, "read-timeout-ms": 0},
        "log": {"debug": false, "package-levels": null},
        "reported-version": "2.3.8",
        "v3": {"quota-backend-bytes": 2147483648u64, "max-request-bytes": 1572864, "max-txn-ops": 128,
            "auto-compaction-retention": "0", "auto-compaction-mode": "periodic"},
    });
    assert_eq!(serde_json::to_value(config).unwrap(), expected);
}

#[test]
fn help_names_every_flag_and_dry_run_is_json() {
    let print = |arguments: &[&str]| {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        match etcd_config::read(&Facts { arguments, ..bare() }).unwrap() {
            Task::Print(text) => text,
            other => panic!("{other:?}"),
        }
    };
    let help = print(&["--help"]);
    for flag in etcd_config::flag::FLAGS.iter().filter(|flag| flag.name != "h") {
        assert!(help.contains(&format!("  --{}", flag.name)), "{}", flag.name);
    }
    let report: Value = serde_json::from_str(&print(&["-name", "a", "-dry-run"])).unwrap();
    assert_eq!(report["config"]["name"], "a");
    assert_eq!(report["given"][1], serde_json::json!(["name", "command line"]));
    for shell in ["bash", "zsh", "fish"] {
        assert!(print(&["-completion", shell]).contains("listen-client-urls"), "{shell}");
    }
}

#[test]
fn required_files_of_flags() {
    let files = |arguments: &[&str]| {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        etcd_config::required_files(&Facts { arguments, ..bare() })
    };
    assert_eq!(files(&["-peers-file", "/p"]), [PathBuf::from("/p")]);
    assert_eq!(files(&["-config-file=/c"]), [PathBuf::from("/c")]);
    assert!(files(&["-name", "x"]).is_empty());
}
