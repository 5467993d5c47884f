//! A cluster takes versions from its channel, one machine after the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::beats::{Beats, FOLDER};
use super::super::fleet::cluster::{Member, beat_on_each, three, ttl, user_data};
use super::super::kv::NODES;
use super::super::locksmith::{UNIT, boots};
use super::channel::Channel;
use super::versions::{Fault, Keys, release};
use super::{proven, version};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Scenario, Stage, USUAL};

pub const ROLL: Scenario = Scenario {
    name: "update-roll",
    about: "three machines take two versions from their channel, one at a time, and of a broken one only the first",
    nodes: NODES,
    on: &[Qemu],
    long_on: &[Qemu],
    shared: &[FOLDER],
    run: roll,
    ..USUAL
};

const SECOND: &str = "9999.2.0";
const THIRD: &str = "9999.3.0";
const BROKEN: &str = "9999.4.0";
/// Three machines, each written, rebooted and found good.
const ROLLED: Duration = Duration::from_secs(3600);
/// They ask every half minute.
const ASKED: Duration = Duration::from_secs(300);

fn roll(stage: &Stage<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let root = stage.site.layout().root();
    let (keys, releases) = (Keys::make(&root.join("keys"))?, root.join("releases"));
    release(stage.run, &keys, SECOND, Fault::None, &[], &releases)?;
    release(stage.run, &keys, THIRD, Fault::None, &[SECOND], &releases)?;
    release(stage.run, &keys, BROKEN, Fault::DoesNotBoot, &[THIRD], &releases)?;
    let channel = Channel::open(stage, &keys)?;
    let folder = |version: &str| releases.join(version).display().to_string();
    stage.site.set_user_data(data(stage, &keys, &channel)?.as_bytes())?;
    let members = three(stage)?;
    let first = stage.run.image.version.as_str();
    for member in &members {
        proven(&member.machine, first)?;
    }

    let beats = Beats::new(&stage.shared(1));
    let units = beat_on_each(&members, &beats)?;
    for version in [SECOND, THIRD] {
        let before = Instant::now();
        channel.done(&["publish", "--channel", "alpha", &folder(version)])?;
        until(ROLLED, &format!("all machines on {version}"), || all_run(&members, version))?;
        eprintln!("all machines on {version} after {:.0?}", before.elapsed());
        for member in &members {
            proven(&member.machine, version)?;
        }
    }
    for member in &members {
        let (full, delta) = (to_fetch(&member.machine, SECOND)?, to_fetch(&member.machine, THIRD)?);
        eprintln!("{SECOND}: {full} bytes to fetch, {THIRD}: {delta}");
        expect(delta * 4 < full, "a delta to the third version", &format!("{delta} of {full} bytes"))?;
    }
    let seen = boots::read(&stage.shared(1))?;
    eprintln!("{seen}");
    seen.one_at_a_time()?;
    seen.each_could_write(stage, slowdown.until_now(stage)?)?;
    beats.never_twice()?;
    beats.moved(&units)?;
    for (before, after) in beats.in_place()? {
        eprintln!("stopped and started again where it was: {before}; {after}");
    }
    let machines = told(&channel)?;
    let complete = machines.iter().filter(|machine| machine["status"] == "complete").count();
    expect(complete == NODES, "three that are complete", &format!("{machines:?}"))?;

    // One machine tries it, falls back and tells; that stops it for the others.
    channel.done(&["channel", "rollout", "alpha", "--at-once", "1", "--max-failures", "1"])?;
    channel.done(&["publish", "--channel", "alpha", &folder(BROKEN)])?;
    until(ROLLED, "a machine that went back", || {
        Ok(channel.done(&["channel", "activity"])?.contains("and went back"))
    })?;
    until(ROLLED, "all machines on the third version again", || all_run(&members, THIRD))?;
    let groups = channel.done(&["channel", "list", "--json"])?;
    let why = format!("1 of 1 machines failed with {BROKEN}");
    expect(groups.contains(&why), &why, &groups)?;
    // What a check begins is over at the next one: two rounds of them later nobody else has tried it.
    for _ in 0..2 {
        let before = last_checks(&channel)?;
        until(ASKED, "each machine to ask again", || {
            let now = last_checks(&channel)?;
            Ok(before.iter().all(|(machine, asked)| now.get(machine).is_some_and(|again| again > asked)))
        })?;
    }
    expect(all_run(&members, THIRD)?, "all machines still on the third version", "another one")?;
    let banned = "sudo update-agent status | grep -c 'did not come up'; true";
    let mut count = 0;
    for member in &members {
        count += member.machine.succeed(banned)?.trim().parse::<usize>().unwrap_or(0);
    }
    expect(count == 1, "one machine that bans it", &count.to_string())
}

/// The bytes that a machine set out to fetch for a version.
fn to_fetch(machine: &Machine<'_>, version: &str) -> Result<u64, Failure> {
    let said = machine.succeed("sudo journalctl --unit=update-engine --output=cat --quiet --no-pager")?;
    let begins = format!("installing version {version}, ");
    let mut bytes =
        said.lines().filter_map(|line| line.strip_prefix(&begins)?.split(' ').next()?.parse().ok());
    let bytes: Option<u64> = bytes.next_back();
    expect(bytes.is_some(), &begins, &said)?;
    Ok(bytes.unwrap_or_default())
}

/// The machines, as the channel server tells of them.
fn told(channel: &Channel) -> Result<Vec<Value>, Failure> {
    let said = channel.done(&["channel", "machines", "--json"])?;
    let told: Value = serde_json::from_str(&said).unwrap_or_default();
    let machines = told["instances"].as_array().cloned().unwrap_or_default();
    expect(machines.len() == NODES, "three machines", &said)?;
    Ok(machines)
}

/// When each machine asked for the last time, in seconds since 1970.
fn last_checks(channel: &Channel) -> Result<BTreeMap<String, u64>, Failure> {
    let asked = |machine: Value| Some((machine["id"].as_str()?.to_owned(), machine["last_check"].as_u64()?));
    let checks: BTreeMap<_, _> = told(channel)?.into_iter().filter_map(asked).collect();
    expect(checks.len() == NODES, "three machines that have asked", &format!("{checks:?}"))?;
    Ok(checks)
}

/// Everything that a machine needs to follow the channel.
fn data(stage: &Stage<'_>, keys: &Keys, channel: &Channel) -> Result<String, Failure> {
    let units = format!(
        "{UNIT}{}    - name: update-engine.service\n      command: restart\n      drop-ins:\n        - name: 10-test.conf\n          \
         content: |\n            [Service]\n            Environment=UPDATE_ENGINE_FIRST_CHECK=30 \
         UPDATE_ENGINE_INTERVAL=30 UPDATE_ENGINE_FUZZ=10\n",
        boots::WRITER
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
