//! What a machine is once it is up.

use std::time::Duration;

use machines::cluster::BackendKind::Nspawn;
use machines::process::Process;

use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

/// A container's start takes seconds; on an emulated machine of a busy host, minutes.
const SOON: Duration = Duration::from_secs(300);

const HELLO_USER_DATA: &str = include_str!("../user-data/hello.yaml");

pub const BOOTS: Scenario = Scenario {
    name: "boots",
    about: "a machine comes up with nothing failed, /usr read-only erofs, and ssh and sudo working",
    run: boots,
    ..USUAL
};

fn boots(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    let usr = machine.succeed("findmnt -no FSTYPE,OPTIONS /usr")?;
    let options = usr.split_ascii_whitespace().nth(1).unwrap_or_default();
    expect(usr.starts_with("erofs"), "erofs at /usr", &usr)?;
    expect(options.split(',').any(|option| option == "ro"), "a read-only /usr", &usr)?;
    machine.fail("sudo touch /usr/x")?;
    let name = machine.succeed("hostname")?;
    expect(name.trim() == machine.name(), machine.name(), &name)?;
    let user = machine.succeed("id -un; sudo id -un")?;
    expect(user.split_ascii_whitespace().eq(["core", "root"]), "core, and root by sudo", &user)
}

pub const HELLO: Scenario = Scenario {
    name: "hello",
    about: "the tutorials' hello.service runs a container, and its lines are in the journal",
    user_data: Some(HELLO_USER_DATA),
    run: hello,
    ..USUAL
};

fn hello(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let machine = stage.machine(1);
    machine.wait_for_unit("hello.service", SOON)?;
    let said = "sudo journalctl --no-pager -u hello.service | grep -c 'Hello World' | grep -v '^0$'";
    machine.wait_until_succeeds(said, SOON)?;
    let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.trim().is_empty(), "no failed unit", &failed)
}

pub const APART: Scenario = Scenario {
    name: "apart",
    about: "each container has a control group of its own on the host, and leaves none behind",
    nodes: 2,
    on: &[Nspawn],
    run: apart,
    ..USUAL
};

fn apart(stage: &Stage<'_>) -> Result<(), Failure> {
    stage.boot()?;
    let cluster = stage.site.cluster();
    for node in &cluster.nodes {
        let own = format!("/keelson-{}-{}", cluster.name, node.name);
        let keeper = node.process.map(|process| process.pid);
        // The keeper's child is nspawn, and that one's is the first process of the container.
        let first = keeper.and_then(child).and_then(child);
        let groups = first.map(groups).unwrap_or_default();
        let inside = groups.lines().filter(|line| line.starts_with("0::") || line.contains(":name=systemd:"));
        let places: Vec<_> = inside.collect();
        let apart = !places.is_empty() && places.iter().all(|place| place.contains(&own));
        expect(apart, &format!("{} to be below {own}", node.name), &groups)?;
    }
    stage.site.down()?;
    let left = groups_named(&format!("keelson-{}-", cluster.name));
    expect(left.is_empty(), "no control group left", &left.join(" "))
}

fn child(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .find(|pid| Process::of(*pid).is_some())
}

fn groups(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

/// Control groups of the host's unified hierarchy whose name begins so.
fn groups_named(prefix: &str) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let unified = mounts.lines().filter(|line| line.split(' ').nth(2) == Some("cgroup2"));
    unified
        .filter_map(|line| std::fs::read_dir(line.split(' ').nth(1)?).ok())
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}
