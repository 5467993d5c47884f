//! A cluster takes versions from its channel, one machine after the other.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;

use super::super::fleet::beats::FOLDER as BEATS;
use super::super::fleet::cluster::{Member, three, ttl, user_data};
use super::super::kv::NODES;
use super::super::locksmith::{UNIT, boots};
use super::channel::Channel;
use super::versions::{Fault, Keys, release};
use super::{proven, version};
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const ROLL: Scenario = Scenario {
    name: "update-roll",
    about: "three machines take a version from their channel one at a time, and of a broken one only the first",
    nodes: NODES,
    on: &[Qemu],
    long_on: &[Qemu],
    shared: &[BEATS],
    run: roll,
    ..USUAL
};

const SECOND: &str = "9999.2.0";
const BROKEN: &str = "9999.3.0";
/// Three machines, each written, rebooted and found good.
const ROLLED: Duration = Duration::from_secs(3600);
/// A write to the store is refused for so long at most.
const SILENCE: Duration = Duration::from_secs(20);

fn roll(stage: &Stage<'_>) -> Result<(), Failure> {
    let root = stage.site.layout().root();
    let (keys, releases) = (Keys::make(&root.join("keys"))?, root.join("releases"));
    release(stage.run, &keys, SECOND, Fault::None, &[], &releases)?;
    release(stage.run, &keys, BROKEN, Fault::DoesNotBoot, &[SECOND], &releases)?;
    let channel = Channel::open(stage, &keys)?;
    let folder = |version: &str| releases.join(version).display().to_string();
    stage.site.set_user_data(data(stage, &keys, &channel)?.as_bytes())?;
    let members = three(stage)?;
    let first = stage.run.image.version.as_str();
    for member in &members {
        proven(&member.machine, first)?;
    }

    channel.done(&["publish", "--channel", "alpha", &folder(SECOND)])?;
    until(ROLLED, "all machines on the second version", || all_run(&members, SECOND))?;
    for member in &members {
        proven(&member.machine, SECOND)?;
    }
    let seen = boots::read(&stage.shared(1))?;
    seen.one_at_a_time()?;
    let silence = seen.longest_silence();
    eprintln!("the longest time without a write: {silence:?}");
    expect(silence <= SILENCE, &format!("a write every {SILENCE:?}"), &format!("none for {silence:?}"))?;
    let machines = channel.done(&["channel", "machines", "--json"])?;
    let told: serde_json::Value = serde_json::from_str(&machines).unwrap_or_default();
    let instances = told["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    let complete = instances.iter().filter(|instance| instance["status"] == "complete").count();
    expect(complete == NODES, "three that are complete", &machines)?;

    // One machine tries it, falls back and tells; that stops it for the others.
    channel.done(&["channel", "rollout", "alpha", "--at-once", "1", "--max-failures", "1"])?;
    channel.done(&["publish", "--channel", "alpha", &folder(BROKEN)])?;
    until(ROLLED, "a machine that went back", || {
        Ok(channel.done(&["channel", "activity"])?.contains("and went back"))
    })?;
    until(ROLLED, "all machines on the second version again", || all_run(&members, SECOND))?;
    let groups = channel.done(&["channel", "list", "--json"])?;
    let why = format!("1 of 1 machines failed with {BROKEN}");
    expect(groups.contains(&why), &why, &groups)?;
    // Two rounds of checks later nobody else has tried it.
    std::thread::sleep(Duration::from_secs(120));
    expect(all_run(&members, SECOND)?, "all machines still on the second version", "another one")?;
    let banned = "sudo update-agent status | grep -c 'did not come up'; true";
    let mut count = 0;
    for member in &members {
        count += member.machine.succeed(banned)?.trim().parse::<usize>().unwrap_or(0);
    }
    expect(count == 1, "one machine that bans it", &count.to_string())
}

/// Everything that a machine needs to follow the channel.
fn data(stage: &Stage<'_>, keys: &Keys, channel: &Channel) -> Result<String, Failure> {
    let mut stores = Vec::new();
    for number in 1..=NODES {
        stores.push(stage.machine(number).node()?.address.to_string());
    }
    let units = format!(
        "{UNIT}{}    - name: update-engine.service\n      command: restart\n      drop-ins:\n        - name: 10-test.conf\n          \
         content: |\n            [Service]\n            Environment=UPDATE_ENGINE_FIRST_CHECK=30 \
         UPDATE_ENGINE_INTERVAL=30 UPDATE_ENGINE_FUZZ=10\n",
        boots::unit(&stores)
    );
    let file = |path: &str, content: &str| {
        let lines: String = content.lines().map(|line| format!("      {line}\n")).collect();
        format!("  - path: {path}\n    content: |\n{lines}")
    };
    let settings = format!(
        "GROUP=alpha\nSERVER={}\nALLOW_LOCAL_KEYS=yes\nREBOOT_STRATEGY=etcd-lock\n",
        channel.server()
    );
    Ok(format!(
        "{}write_files:\n{}{}{}",
        user_data(&[format!("agent-ttl: {}s", ttl(stage).as_secs())], &units),
        file("/etc/coreos/update.conf", &settings),
        file("/etc/keelson/keys.d/release/test.pub", &keys.release),
        file("/etc/keelson/keys.d/channel/test.pub", &keys.channel),
    ))
}

fn all_run(members: &[Member<'_>], wanted: &str) -> Result<bool, Failure> {
    // One that reboots does not answer.
    Ok(members.iter().all(|member| version(&member.machine).is_ok_and(|found| found == wanted)))
}

fn until(
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    while !holds()? {
        expect(Instant::now() < deadline, what, &format!("not within {limit:?}"))?;
        std::thread::sleep(Duration::from_secs(2));
    }
    Ok(())
}
