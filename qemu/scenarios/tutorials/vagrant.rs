//! Row A3: the settings file and commands that readers know from Vagrant.

use std::path::Path;
use std::process::Command;

use machines::cluster::BackendKind::Qemu;

use super::super::kv::NODES;
use super::host::{self, new_key, output};
use super::reader::{Reader, with_reader};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const CONFIG_RB: Scenario = Scenario {
    name: "config-rb",
    about: "with config.rb and user-data made of the samples, up boots three machines, status lists them, up --provision \
            brings changed user-data, and ssh -A forwards the agent (A3; of channels, that of the image)",
    others: NODES,
    long_on: &[Qemu],
    run: config_rb,
    ..DEFAULTS
};

const SETTINGS: &str = include_str!("../../../cloud-config/config.rb.sample");
const USER_DATA: &str = include_str!("../../../cloud-config/user-data.sample");
/// The machines' limit is that of the scenario's own.
const READY: [&str; 2] = ["--timeout", "600"];

fn config_rb(context: &Context<'_>) -> Result<(), Failure> {
    with_reader(context, walk)
}

fn up(reader: &Reader<'_>, more: &[&str]) -> Result<String, Failure> {
    let backend = reader.context.backend.to_string();
    reader.run(&[&["up", "--quiet", "--isolated", "--on", &backend][..], &READY, more].concat())
}

fn walk(reader: &Reader<'_>) -> Result<(), Failure> {
    let image = &reader.context.run.image;
    // What the tutorials say to change: the # goes, and the value is one's own.
    let settings = SETTINGS
        .replace("#$num_instances = 3", &format!("$num_instances={NODES}"))
        .replace("#$update_channel = \"alpha\"", &format!("$update_channel='{}'", image.channel));
    expect(settings != SETTINGS, "lines to change in the sample", &settings)?;
    reader.write("config.rb", &settings)?;
    reader.write("user-data", USER_DATA)?;

    let table = up(reader, &[])?;
    listed(&table, &image.version)?;
    listed(&reader.run(&["status"])?, &image.version)?;
    let names: Vec<_> = (1..=NODES).map(|number| format!("core-{number:02}")).collect();
    let on_each = |command: &str| -> Result<Vec<String>, Failure> {
        names.iter().map(|name| reader.run(&["ssh", name, "--", command])).collect()
    };
    let boots = on_each("cat /proc/sys/kernel/random/boot_id; systemctl is-active etcd fleet >&2")?;
    reader
        .write("user-data", &format!("{USER_DATA}write_files: [{{path: /etc/brought, content: later}}]\n"))?;
    up(reader, &["--provision"])?;
    let brought = on_each("cat /etc/brought")?;
    expect(
        brought.iter().all(|output| output == "later"),
        "the changed user-data on all",
        &brought.concat(),
    )?;
    let after = on_each("cat /proc/sys/kernel/random/boot_id")?;
    expect(boots == after, "the same boots as before", &after.concat())?;
    agent(reader, &names[0])
}

/// Checks that the table lists each machine as ready with that version.
fn listed(table: &str, version: &str) -> Result<(), Failure> {
    for number in 1..=NODES {
        let name = format!("core-{number:02}");
        let row: Vec<_> = table
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
            .filter(|row| row.first() == Some(&&*name))
            .collect();
        let good = row.len() == 1 && row[0].get(1) == Some(&"ready") && row[0].get(4) == Some(&version);
        expect(good, &format!("{name}, ready, with version {version}"), table)?;
    }
    Ok(())
}

/// With `-A` only, the machine can use the keys of the host's agent.
fn agent(reader: &Reader<'_>, name: &str) -> Result<(), Failure> {
    let (key, _) = new_key(&reader.folder)?;
    let (_agent, socket) = host::agent(&reader.folder)?;
    let with_agent = |mut command: Command| output(command.env("SSH_AUTH_SOCK", &socket));
    let own = fingerprint(&key)?;
    let mut add = Command::new("ssh-add");
    add.arg("-q").arg(&key);
    with_agent(add)?;
    let seen = with_agent(reader.keelson_command(&["ssh", name, "--", "-A", "ssh-add -l"]))?;
    expect(seen.contains(&own), "the agent's key on the machine", &seen)?;
    let without =
        with_agent(reader.keelson_command(&["ssh", name, "--", "ssh-add -l || echo none; whoami"]))?;
    expect(without == "none\ncore\n", "no agent without -A, and the user core", &without)
}

/// The fingerprint `SHA256:...` of a key.
fn fingerprint(key: &Path) -> Result<String, Failure> {
    let output = output(Command::new("ssh-keygen").arg("-lf").arg(key))?;
    Ok(output.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned())
}
