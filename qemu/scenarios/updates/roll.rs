//! A cluster updates from its channel, one machine after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::fleet::cluster::{Member, beat_on_each, form_three, ttl, user_data};
use super::super::fleet::heartbeats::{FOLDER, Heartbeats};
use super::super::kv::NODES;
use super::super::locksmith::{UNIT, boots};
use super::channel::Channel;
use super::versions::{Fault, Keys, release, release_of_running};
use super::{proven, version};
use crate::calibration::Slowdown;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const ROLL: Scenario = Scenario {
    name: "update-roll",
    about: "three machines take a version from their channel by its delta, one at a time, and serve meanwhile",
    nodes: NODES,
    on: &[Qemu],
    long_on: &[Qemu],
    shared: &[FOLDER],
    run: roll,
    ..DEFAULTS
};

pub const ROLL_BROKEN: Scenario = Scenario {
    name: "update-roll-broken",
    about: "a version that does not boot is taken in full by the first machine only, which falls back and stops the rollout",
    run: roll_broken,
    ..ROLL
};

const NEXT: &str = "9999.2.0";
/// Three machines, each written, rebooted and marked good.
const ROLLED: Duration = Duration::from_secs(3600);
/// They check every half minute.
const CHECKED: Duration = Duration::from_secs(300);

/// A channel without a version, and three good machines that follow it.
struct Rollout<'a> {
    keys: Keys,
    releases: PathBuf,
    channel: Channel,
    members: [Member<'a>; NODES],
}

impl<'a> Rollout<'a> {
    fn begin(context: &Context<'a>) -> Result<Self, Failure> {
        let root = context.site.layout().root();
        let (keys, releases) = (Keys::make(&root.join("keys"))?, root.join("releases"));
        let channel = Channel::open(context, &keys)?;
        context.site.set_user_data(data(context, &keys, &channel)?.as_bytes())?;
        let members = form_three(context)?;
        for member in &members {
            proven(&member.machine, &context.run.image.version)?;
        }
        Ok(Self { keys, releases, channel, members })
    }

    fn publish(&self, version: &str) -> Result<(), Failure> {
        let folder = self.releases.join(version).display().to_string();
        self.channel.run(&["publish", "--channel", "alpha", &folder]).map(|_| ())
    }
}

fn roll(context: &Context<'_>) -> Result<(), Failure> {
    let slowdown = Slowdown::measured()?;
    let rollout = Rollout::begin(context)?;
    let Rollout { keys, releases, channel, members } = &rollout;
    let running = context.run.image.version.as_str();
    release_of_running(context.run, keys, &[], releases)?;
    release(context.run, keys, NEXT, Fault::None, &[running], releases)?;

    let heartbeats = Heartbeats::new(&context.shared(1));
    let units = beat_on_each(members, &heartbeats)?;
    let before = Instant::now();
    rollout.publish(NEXT)?;
    wait_until(ROLLED, &format!("all machines on {NEXT}"), || all_run(members, NEXT))?;
    eprintln!("all machines on {NEXT} after {:.0?}", before.elapsed());
    let image = std::fs::metadata(&context.run.image.usr_erofs);
    let path = context.run.image.usr_erofs.clone();
    let image = image.map_err(|source| Failure::Disk { path, source })?.len();
    for member in members {
        proven(&member.machine, NEXT)?;
        let bytes = to_fetch(&member.machine, NEXT)?;
        eprintln!("{NEXT}: {bytes} bytes to fetch");
        expect(bytes * 10 < image, &format!("a tenth of {image} bytes"), &format!("{bytes} bytes"))?;
    }
    let guest_path = boots::read(&context.shared(1))?;
    eprintln!("{guest_path}");
    guest_path.one_at_a_time()?;
    guest_path.each_could_write(context, slowdown.until_now(context)?)?;
    heartbeats.never_twice()?;
    heartbeats.moved(&units)?;
    for (before, after) in heartbeats.in_place()? {
        eprintln!("stopped and started again where it was: {before}; {after}");
    }
    let machines = machines_of(channel)?;
    let complete = machines.iter().filter(|machine| machine["status"] == "complete").count();
    expect(complete == NODES, "three that are complete", &format!("{machines:?}"))
}

/// One machine tries it, falls back and reports; that stops the rollout.
fn roll_broken(context: &Context<'_>) -> Result<(), Failure> {
    let rollout = Rollout::begin(context)?;
    let Rollout { keys, releases, channel, members } = &rollout;
    let running = context.run.image.version.as_str();
    release(context.run, keys, NEXT, Fault::NoInit, &[], releases)?;
    channel.run(&["channel", "rollout", "alpha", "--at-once", "1", "--max-failures", "1"])?;
    rollout.publish(NEXT)?;
    wait_until(ROLLED, "a machine that went back", || {
        Ok(channel.run(&["channel", "activity"])?.contains("and rolled back"))
    })?;
    wait_until(ROLLED, &format!("all machines on {running} again"), || all_run(members, running))?;
    let groups = channel.run(&["channel", "list", "--json"])?;
    let why = format!("1 of 1 machines failed with {NEXT}");
    expect(groups.contains(&why), &why, &groups)?;
    // A check's update has finished at the next check: two rounds later no other machine has tried it.
    for _ in 0..2 {
        let before = last_checks(channel)?;
        wait_until(CHECKED, "each machine to ask again", || {
            let now = last_checks(channel)?;
            Ok(before.iter().all(|(machine, queried)| now.get(machine).is_some_and(|again| again > queried)))
        })?;
    }
    expect(all_run(members, running)?, &format!("all machines still on {running}"), "another one")?;
    let banned = "sudo update-agent status | grep -c 'failed to boot'; true";
    let mut count = 0;
    for member in members {
        count += member.machine.succeed(banned)?.trim().parse::<usize>().unwrap_or(0);
    }
    expect(count == 1, "one machine that bans it", &count.to_string())
}

/// The number of bytes that a machine announced to download for a version.
fn to_fetch(machine: &Machine<'_>, version: &str) -> Result<u64, Failure> {
    let output = machine.succeed("sudo journalctl --unit=update-engine --output=cat --quiet --no-pager")?;
    let begins = format!("installing version {version}, ");
    let mut bytes =
        output.lines().filter_map(|line| line.strip_prefix(&begins)?.split(' ').next()?.parse().ok());
    let bytes: Option<u64> = bytes.next_back();
    expect(bytes.is_some(), &begins, &output)?;
    Ok(bytes.unwrap_or_default())
}

/// The machines as the channel server reports them.
fn machines_of(channel: &Channel) -> Result<Vec<Value>, Failure> {
    let output = channel.run(&["channel", "machines", "--json"])?;
    let machines_of: Value = serde_json::from_str(&output).unwrap_or_default();
    let machines = machines_of["instances"].as_array().cloned().unwrap_or_default();
    expect(machines.len() == NODES, "three machines", &output)?;
    Ok(machines)
}

/// Time of each machine's last check, in seconds since 1970.
fn last_checks(channel: &Channel) -> Result<BTreeMap<String, u64>, Failure> {
    let queried =
        |machine: Value| Some((machine["id"].as_str()?.to_owned(), machine["last_check"].as_u64()?));
    let checks: BTreeMap<_, _> = machines_of(channel)?.into_iter().filter_map(queried).collect();
    expect(checks.len() == NODES, "three machines that have asked", &format!("{checks:?}"))?;
    Ok(checks)
}

/// The cloud-config of a machine that follows the channel.
fn data(context: &Context<'_>, keys: &Keys, channel: &Channel) -> Result<String, Failure> {
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
        user_data(&[format!("agent-ttl: {}s", ttl(context).as_secs())], &units),
        file("/etc/coreos/update.conf", &settings),
        file("/etc/keelson/keys.d/root.json", &keys.root),
        // A trial of half a minute instead of two: each machine waits for the previous one.
        file(
            "/etc/systemd/system/keelson-health-check.service.d/10-test.conf",
            "[Service]\nEnvironment=KEELSON_HEALTH_SETTLE=30\n",
        ),
    ))
}

fn all_run(members: &[Member<'_>], wanted: &str) -> Result<bool, Failure> {
    // A rebooting machine does not answer.
    Ok(members.iter().all(|member| version(&member.machine).is_ok_and(|found| found == wanted)))
}

fn wait_until(
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
