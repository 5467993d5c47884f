//! Each block of `coreos`: all options of its service, in the order of contract 2.5.

use super::*;
use crate::plan::{Step, When};
use crate::{check, config, yaml};

/// A sample value by type: text, integer, float or boolean.
fn value(sort: char) -> &'static str {
    match sort {
        't' => "x",
        'i' => "7",
        'f' => "0.5",
        _ => "true",
    }
}

fn written(text: &str, path: &str) -> String {
    let document = yaml::read(text.as_bytes()).unwrap();
    let checked = check::check(&config::read(document.root.as_deref())).unwrap();
    let settings = Settings { ssh_key_name: "k".into() };
    let plan = plan(&checked, &Addresses::default(), &Facts::default(), &settings);
    let mut found = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Write(write) if write.path == path => Some(write.content.clone()),
        _ => None,
    });
    String::from_utf8(found.next().unwrap_or_else(|| panic!("no {path} of {text}")).to_vec()).unwrap()
}

/// `fields`: TYPE:NAME each, with =VARIABLE where it is not PREFIX and the upper-case name.
fn check(block: &str, prefix: &str, path: &str, line: impl Fn(&str) -> String, fields: &str) -> String {
    let fields: Vec<(char, &str, String)> = fields
        .split_whitespace()
        .map(|field| {
            let (sort, field) = field.split_once(':').unwrap();
            let (name, variable) = field.split_once('=').unwrap_or((field, ""));
            let usual = format!("{prefix}{}", name.to_uppercase());
            let variable = if variable.is_empty() { usual } else { variable.to_owned() };
            (sort.chars().next().unwrap(), name, variable)
        })
        .collect();
    let patterns = [("proxy", "on"), ("window_start", "Thu 04:00"), ("window_length", "1h30m")];
    let value = |sort: char, name: &str| {
        let fixed = patterns.iter().find(|(of, _)| *of == name && block != "etcd").map(|(_, value)| *value);
        fixed.unwrap_or(value(sort))
    };
    // The document lists the options in reverse order, with dashes.
    let lines: String = fields
        .iter()
        .rev()
        .map(|(sort, name, _)| format!("    {}: {}\n", name.replace('_', "-"), value(*sort, name)))
        .collect();
    let got = written(&format!("coreos:\n  {block}:\n{lines}"), path);
    let expect: Vec<_> = fields
        .iter()
        .map(|(sort, name, variable)| line(&format!("{variable}={}", value(*sort, name))))
        .collect();
    assert_eq!(got.lines().filter(|line| line.contains('=')).collect::<Vec<_>>(), expect, "{block}");
    got
}

fn drop_in(block: &str, prefix: &str, unit: &str, fields: &str) {
    let path = format!("/run/systemd/system/{unit}.d/20-cloudinit.conf");
    let got = check(block, prefix, &path, |variable| format!("Environment=\"{variable}\""), fields);
    assert!(got.starts_with("[Service]\nEnvironment=") && got.ends_with("\"\n"), "{got}");
}

#[test]
fn every_setting_in_the_order_of_the_contract() {
    drop_in(
        "etcd",
        "ETCD_",
        "etcd.service",
        "t:addr t:advertise_client_urls t:bind_addr t:ca_file t:cert_file i:cluster_active_size \
         f:cluster_remove_delay f:cluster_sync_interval t:cors t:data_dir t:discovery t:discovery_fallback \
         t:discovery_srv t:discovery_proxy i:election_timeout b:force_new_cluster t:graphite_host \
         i:heartbeat_interval f:http_read_timeout f:http_write_timeout t:initial_advertise_peer_urls \
         t:initial_cluster t:initial_cluster_state t:initial_cluster_token t:key_file t:listen_client_urls \
         t:listen_peer_urls i:max_result_buffer i:max_retry_attempts i:max_snapshots i:max_wals t:name t:peer_addr \
         t:peer_bind_addr t:peer_ca_file t:peer_cert_file i:peer_election_timeout i:peer_heartbeat_interval \
         t:peer_key_file t:peers t:peers_file t:proxy f:retry_interval b:snapshot \
         i:snapshot_count=ETCD_SNAPSHOTCOUNT t:trace b:verbose b:very_verbose b:very_very_verbose",
    );
    drop_in(
        "etcd2",
        "ETCD_",
        "etcd2.service",
        "t:advertise_client_urls t:ca_file t:cert_file b:client_cert_auth t:cors t:data_dir b:debug t:discovery \
         t:discovery_fallback t:discovery_srv t:discovery_proxy i:election_timeout b:enable_pprof \
         b:force_new_cluster i:heartbeat_interval t:initial_advertise_peer_urls t:initial_cluster \
         t:initial_cluster_state t:initial_cluster_token t:key_file t:listen_client_urls t:listen_peer_urls \
         t:log_package_levels i:max_snapshots i:max_wals t:name t:peer_ca_file t:peer_cert_file t:peer_key_file \
         b:peer_client_cert_auth t:peer_trusted_ca_file t:proxy i:proxy_dial_timeout i:proxy_failure_wait \
         i:proxy_read_timeout i:proxy_refresh_interval i:proxy_write_timeout i:snapshot_count \
         b:strict_reconfig_check t:trusted_ca_file t:wal_dir",
    );
    drop_in(
        "locksmith",
        "LOCKSMITHD_",
        "locksmithd.service",
        "t:endpoint t:etcd_cafile t:etcd_certfile t:etcd_keyfile t:etcd_username t:etcd_password t:group \
         t:window_start=REBOOT_WINDOW_START t:window_length=REBOOT_WINDOW_LENGTH",
    );
    let flannel = check(
        "flannel",
        "FLANNELD_",
        "/run/flannel/options.env",
        str::to_owned,
        "t:etcd_endpoints t:etcd_cafile t:etcd_certfile t:etcd_keyfile t:etcd_prefix t:etcd_username \
         t:etcd_password t:ip_masq t:subnet_file t:interface=FLANNELD_IFACE t:public_ip",
    );
    assert!(flannel.ends_with("FLANNELD_PUBLIC_IP=x"), "{flannel}");
}

/// On a running machine new options take effect immediately; at boot the service is not started yet.
#[test]
fn running_services_are_restarted_with_new_options() {
    let text = "coreos: {fleet: {metadata: a=b}, etcd: {name: a}, locksmith: {group: g}}";
    let document = yaml::read(text.as_bytes()).unwrap();
    let checked = check::check(&config::read(document.root.as_deref())).unwrap();
    let settings = Settings { ssh_key_name: "k".into() };
    let plan = plan(&checked, &Addresses::default(), &Facts::default(), &settings);
    let written = |path: &str| {
        let is_it = |step: &Step| matches!(&step.action, Action::Write(write) if write.path == path);
        plan.steps.iter().position(is_it)
    };
    let mut restarted = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        if let Action::Unit { unit, command, when: When::Written(path) } = &step.action {
            assert_eq!(command, "try-restart");
            assert!(written(path).unwrap() < at, "{path}");
            restarted.push(unit.as_str());
        }
    }
    assert_eq!(restarted, ["fleet.service", "locksmithd.service"]);
}
