//! Results on stdout: a table for people, or one JSON document for programs.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context as _;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use machines::cluster::{Cluster, NodeStatus};
use serde_json::{Value, json};

/// Prints to stdout. A closed pipe (`keelson ...
///
/// head`) is not an error.
pub fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

pub fn print_json(value: &Value) -> anyhow::Result<()> {
    print(format!("{value:#}\n"))
}

/// A table without borders; columns are two spaces apart.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

pub fn status_table(nodes: &[NodeStatus]) -> String {
    let placeholder = || "-".to_owned();
    let rows: Vec<_> = nodes
        .iter()
        .map(|node| {
            let ssh = node.ssh.as_ref().map_or_else(placeholder, |ssh| format!("{}:{}", ssh.host, ssh.port));
            vec![
                node.name.clone(),
                node.state.to_string(),
                node.address.to_string(),
                ssh,
                node.version.clone().unwrap_or_else(placeholder),
                node.slot.clone().unwrap_or_else(placeholder),
            ]
        })
        .collect();
    table(&["NAME", "STATE", "ADDRESS", "SSH", "VERSION", "SLOT"], &rows)
}

/// One line for each running machine with failed units.
pub fn failed_units(nodes: &[NodeStatus]) -> String {
    let failed = nodes.iter().filter(|node| !node.failed_units.is_empty());
    failed.map(|node| format!("{}: failed units: {}\n", node.name, node.failed_units.join(", "))).collect()
}

/// The build profiles of the running machines' programs.
pub fn profiles(nodes: &[NodeStatus]) -> String {
    let mut found: Vec<&str> = nodes.iter().filter_map(|node| node.profile.as_deref()).collect();
    found.sort_unstable();
    found.dedup();
    match &*found {
        [] => String::new(),
        [one] => format!("Profile: {one}\n"),
        profiles => {
            let nodes_with = |profile: &str| -> Vec<&str> {
                let nodes = nodes.iter().filter(|node| node.profile.as_deref() == Some(profile));
                nodes.map(|node| node.name.as_str()).collect()
            };
            let lists: Vec<_> = profiles
                .iter()
                .map(|profile| format!("{profile} ({})", nodes_with(profile).join(", ")))
                .collect();
            format!("Profile: {}\n", lists.join(", "))
        }
    }
}

/// Non-default settings that all machines of a cluster share.
pub fn cluster_notes(cluster: &Cluster) -> String {
    let mut lines = String::new();
    if cluster.secure_boot {
        lines.push_str("Secure Boot: enabled\n");
    }
    if let Some(server) = &cluster.update_server {
        lines.extend(["Update server: ", server, " (unless /etc/coreos/update.conf sets another)\n"]);
    }
    lines
}

pub fn status_json(cluster: &Cluster, nodes: &[NodeStatus]) -> Value {
    json!({
        "cluster": cluster.name, "secure_boot": cluster.secure_boot, "update_server": cluster.update_server,
        "nodes": nodes
    })
}

/// A path with `~` for the home folder.
pub fn with_home(path: &Path) -> String {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_path_buf)) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machines::cluster::{Endpoint, NodeState};
    use std::net::Ipv4Addr;

    fn node(state: NodeState) -> NodeStatus {
        let up = state == NodeState::Ready;
        NodeStatus {
            name: "core-01".into(),
            state,
            address: Ipv4Addr::new(10, 77, 0, 11),
            ssh: up.then_some(Endpoint { host: Ipv4Addr::LOCALHOST, port: 52211 }),
            version: up.then(|| "9999.1.0".into()),
            profile: up.then(|| "quick".into()),
            slot: up.then(|| "a".into()),
            pid: up.then_some(7),
            failed_units: vec![],
            console: "/c".into(),
        }
    }

    fn cluster() -> Cluster {
        let image = serde_json::from_value(json!({
            "version": "1", "channel": "alpha", "raw": "/r", "usr_tree": "/u", "usr_erofs": "/e", "tools": "/"
        }));
        Cluster::new("default", &machines::cluster::ClusterSpec::default(), image.unwrap())
    }

    #[test]
    fn unusual_settings_are_noted() {
        let mut cluster = cluster();
        assert_eq!(
            (cluster_notes(&cluster), &status_json(&cluster, &[])["secure_boot"]),
            (String::new(), &json!(false))
        );
        cluster.secure_boot = true;
        assert!(cluster_notes(&cluster).starts_with("Secure Boot"));
        cluster.update_server = Some("http://a/v1/update/".to_owned());
        assert!(cluster_notes(&cluster).contains("\nUpdate server: http://a/v1/update/ "));
        assert_eq!(status_json(&cluster, &[])["secure_boot"], true);
    }

    #[test]
    fn profiles_are_listed_once_or_per_machine() {
        let named = |name: &str, profile: &str| NodeStatus {
            name: name.into(),
            profile: Some(profile.into()),
            ..node(NodeState::Ready)
        };
        assert_eq!(profiles(&[node(NodeState::Stopped)]), "");
        assert_eq!(profiles(&[node(NodeState::Ready), node(NodeState::Stopped)]), "Profile: quick\n");
        let mixed = [named("a", "quick"), named("b", "node"), named("c", "quick")];
        assert_eq!(profiles(&mixed), "Profile: node (b), quick (a, c)\n");
    }

    #[test]
    fn table_and_json_match_the_contract() {
        let text = status_table(&[node(NodeState::Ready), node(NodeState::Stopped)]);
        let expect = "NAME     STATE    ADDRESS     SSH              VERSION   SLOT\n\
                      core-01  ready    10.77.0.11  127.0.0.1:52211  9999.1.0  a\n\
                      core-01  stopped  10.77.0.11  -                -         -";
        assert_eq!(text, expect);
        let value = status_json(&cluster(), &[node(NodeState::Ready)]);
        assert_eq!(value["nodes"][0]["ssh"], json!({"host": "127.0.0.1", "port": 52211}));
        for name in ["name", "state", "address", "version", "profile", "slot", "pid"] {
            assert!(value["nodes"][0].get(name).is_some(), "{name}");
        }
        assert_eq!(status_json(&cluster(), &[node(NodeState::Stopped)])["nodes"][0]["state"], "stopped");
    }
}
