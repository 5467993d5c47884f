//! `cargo xtask bench`: measures the figures of `docs/benchmarks.md` and prints rows for its table.
//!
//! It drives `cargo keelson --json` on separate clusters, which it removes, and writes nothing into the checkout.

mod boot_peer;
mod cloudinit;
mod debian;
mod default_units;
mod figure;
mod fleet;
mod image;
mod install;
mod kv;
mod netboot;
mod payload;
mod phases;
mod qemu;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use crate::command::{require_success, show, show_and_read};
use crate::{interrupt, workspace};
use figure::{Figure, rows};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// Builds the image from a full cache, whole and after a change: time, size
    Image,
    /// Boots one and three machines on both back ends: time, guest's userspace, memory
    Boot,
    /// Runs the key-value server and Debian's etcd in turn: rates, latencies, memory, starts
    Kv,
    /// The same two as keys, values and members grow: a plot; only when named, alone
    Growth,
    /// coreos-cloudinit beside Debian's cloud-init in one nspawn tree; only when named, alone
    Cloudinit,
    /// The cluster manager: scheduler, growth in simulation, three nspawn nodes; only when named, alone
    Fleet,
    /// An update's payloads of real images: sizes, times, memory; only when named, alone
    Payload,
    /// An installation of a raw image beside a bare copy; only when named, alone
    Install,
    /// A machine's boot from the network beside its boot from the disk, emulated; only when named, alone
    Netboot,
    /// An emulated machine's boot, phase by phase: processor seconds; only when named, alone
    Phases,
    /// An emulated machine's boot beside a Debian system of the same packages, in turn; only when named, alone
    BootPeer,
    /// flanneld's network of containers beside the same devices without it; only when named, alone
    Flannel,
    /// `rkt run` beside `docker run` and crun; only when named, alone
    Rkt,
    /// The channel server under 10,000 machines that poll; only when named, alone
    Updates,
}

/// User-data without any work at boot.
const NO_USER_DATA: &str = "/dev/null";

/// (back end, machines, target) of the timed boots.
const BOOTS: [(&str, u32, &str); 4] =
    [("nspawn", 1, "<= 3 s"), ("nspawn", 3, "<= 6 s"), ("qemu", 1, "<= 35 s"), ("qemu", 3, "<= 75 s")];

/// Returns whether every figure could be measured, whatever its value.
pub fn run(topics: &[Topic], arguments: &[String]) -> Result<bool> {
    interrupt::watch()?;
    let root = workspace::root();
    match topics {
        [Topic::Kv] => return kv::run(&root, "kv-bench", arguments),
        [Topic::Growth] => return kv::run(&root, "kv-growth", arguments),
        [Topic::Fleet] => return fleet::run(&root, arguments),
        [Topic::Payload] => return payload::run(&root, arguments),
        [Topic::Install] => return install::run(&root, arguments),
        [Topic::Netboot] => return netboot::run(&root),
        [Topic::Updates] => return measure_alone(&root, "channel-server", "updates"),
        [Topic::Flannel] => return measure_alone(&root, "flanneld", "network"),
        [Topic::Rkt] => return measure_alone(&root, "rkt", "start"),
        [Topic::Phases] => {
            let program = crate::keelson::build(&root)?;
            print!("{}", rows(&phases::figures(&program, &root)?));
            return Ok(true);
        }
        [Topic::BootPeer] => {
            let program = crate::keelson::build(&root)?;
            print!("{}", rows(&boot_peer::figures(&program, &root)?));
            return Ok(true);
        }
        [Topic::Cloudinit] => {
            print!("{}", rows(&cloudinit::figures(&root)?));
            return Ok(true);
        }
        _ if topics.iter().any(is_exclusive) => {
            bail!(
                "`growth`, `fleet`, `cloudinit`, `payload`, `install`, `netboot`, `phases`, `boot-peer`, `flannel`, \
                 `rkt` and `updates` are measured alone"
            )
        }
        _ => {}
    }
    // Compiling keelson is not part of any figure.
    let program = crate::keelson::build(&root)?;
    let chosen = |topic| topics.is_empty() || topics.contains(&topic);
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    if chosen(Topic::Image) {
        match image::figures(&root) {
            Ok(found) => figures.extend(found),
            Err(error) => failures.push(format!("image: {error:#}")),
        }
    }
    if chosen(Topic::Boot) {
        for (back_end, machines, target) in BOOTS {
            match boot(&program, back_end, machines, target) {
                Ok(found) => figures.extend(found),
                Err(error) => failures.push(format!("{machines} on {back_end}: {error:#}")),
            }
        }
    }
    print!("{}", rows(&figures));
    if topics.contains(&Topic::Kv) && !kv::run(&root, "kv-bench", arguments)? {
        failures.push("kv: see above".into());
    }
    for failure in &failures {
        eprintln!("not measured: {failure}");
    }
    Ok(failures.is_empty())
}

/// Runs one bench target.
fn measure_alone(root: &Path, package: &str, name: &str) -> Result<bool> {
    print!("{}", rows(&figure::bench(root, package, name, &[])?));
    Ok(true)
}

fn is_exclusive(topic: &Topic) -> bool {
    matches!(
        topic,
        Topic::Growth
            | Topic::Fleet
            | Topic::Flannel
            | Topic::Rkt
            | Topic::Cloudinit
            | Topic::Payload
            | Topic::Install
            | Topic::Netboot
            | Topic::Phases
            | Topic::BootPeer
            | Topic::Updates
    )
}

fn boot(program: &Path, back_end: &str, machines: u32, target: &'static str) -> Result<Vec<Figure>> {
    let cluster = format!("bench-{back_end}-{machines}");
    let figures = boot_in(program, &cluster, back_end, machines, target);
    // Also after a failure or Ctrl-C: a benchmark leaves no machine running.
    let removed = keelson(program, &["--cluster", &cluster, "--quiet", "destroy"])
        .stdout(Stdio::null())
        .status()
        .with_context(|| format!("cannot destroy cluster {cluster}"))?;
    match figures {
        Ok(_) if !removed.success() => {
            bail!("its machines could not be removed: `cargo keelson --cluster {cluster} destroy`")
        }
        other => other,
    }
}

fn boot_in(
    program: &Path,
    cluster: &str,
    back_end: &str,
    machines: u32,
    target: &'static str,
) -> Result<Vec<Figure>> {
    let count = machines.to_string();
    // Not the sample user-data: docker and its service are measured separately.
    let up = ["--cluster", cluster, "up", "--nodes", &count, "--on", back_end, "--user-data", NO_USER_DATA];
    let started = Instant::now();
    let report = run_json(program, &up)?;
    let name = report["nodes"][0]["name"].as_str().context("up --json has no node")?.to_owned();
    let on_node = |arguments: &[&str]| run_on_node(program, cluster, &name, arguments);
    on_node(&["true"])?;
    let until_ssh = started.elapsed();
    let build = Duration::try_from_secs_f64(report["seconds"]["build"].as_f64().unwrap_or(0.0))?;
    let mut figures = vec![Figure {
        what: format!("{back_end}, `up --nodes {machines}` until ssh answers, without the build"),
        target: target.into(),
        measured: format!("{:.1} s", until_ssh.saturating_sub(build).as_secs_f64()),
        command: format!("cargo keelson up --nodes {machines} --on {back_end} --user-data {NO_USER_DATA}"),
    }];
    if machines == 1 {
        let times = on_node(&["systemd-analyze", "time"])?;
        figures.push(Figure {
            what: format!("the guest's own start, {back_end}"),
            target: if back_end == "nspawn" { "<= 2 s" } else { "" }.into(),
            measured: times.lines().next().unwrap_or_default().to_owned(),
            command: format!("cargo keelson ssh {name} -- systemd-analyze time"),
        });
    }
    if machines == 1 && back_end == "nspawn" {
        let arguments = default_units::show_command();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let command = format!("cargo keelson ssh {name} -- {}", arguments.join(" "));
        figures.push(default_units::figure(&on_node(&arguments)?, command)?);
        figures.push(boots_with_and_without(program, cluster, &name)?);
    }
    if machines == 1 && back_end == "qemu" {
        let used = used_memory(&on_node(&["free", "-m"])?)?;
        figures.push(Figure {
            what: "memory in use on the idle node".into(),
            target: "<= 170 MiB".into(),
            measured: format!("{used} MiB"),
            command: format!("cargo keelson ssh {name} -- free -m"),
        });
    }
    Ok(figures)
}

/// Alternates boots with and without the units of cloud-config: the machine's load varies less between consecutive
/// boots than from day to day.
fn boots_with_and_without(program: &Path, cluster: &str, name: &str) -> Result<Figure> {
    let on_node = |arguments: &[&str]| run_on_node(program, cluster, name, arguments);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..default_units::ROUNDS {
        for (verb, times) in [("mask", &mut without), ("unmask", &mut with)] {
            on_node(&default_units::mask_command(verb))?;
            let arguments = ["--cluster", cluster, "--quiet", "reboot", name];
            require_success(show(&mut keelson(program, &arguments))?)?;
            // Waits until the boot has no job left.
            on_node(&["systemctl", "is-system-running", "--wait"])?;
            times.push(default_units::whole_boot(&on_node(&default_units::WHOLE_BOOT)?)?);
        }
    }
    Ok(default_units::added_time(with, without))
}

/// The column `used` of the line `Mem:` of `free -m`.
fn used_memory(free: &str) -> Result<u64> {
    let line = free.lines().find(|line| line.starts_with("Mem:")).context("free -m printed no line Mem:")?;
    let used = line.split_whitespace().nth(2).context("the line Mem: of free -m has no third column")?;
    used.parse().with_context(|| format!("`{used}` in the line Mem: of free -m is no number"))
}

fn keelson(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs keelson and parses its JSON output.
fn run_json(program: &Path, arguments: &[&str]) -> Result<Value> {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let ended = require_success(show_and_read(&mut keelson(program, &all))?)?;
    serde_json::from_str(&ended.stdout).context("keelson printed no JSON document")
}

fn run_on_node(program: &Path, cluster: &str, name: &str, arguments: &[&str]) -> Result<String> {
    let mut all = vec!["--cluster", cluster, "ssh", name, "--"];
    all.extend(arguments);
    Ok(require_success(show_and_read(&mut keelson(program, &all))?)?.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_memory_is_the_third_column() {
        let free = "               total        used        free\nMem:             981         164         590\nSwap: 0 0 0\n";
        assert_eq!(used_memory(free).unwrap(), 164);
        assert!(used_memory("nothing").is_err());
        assert!(used_memory("Mem: 981 much").is_err());
    }

    #[test]
    fn rows_fit_the_table_of_the_document() {
        let path = workspace::root().join("docs/benchmarks.md");
        let document = std::fs::read_to_string(path).unwrap();
        let figure =
            Figure { what: "a".into(), target: "<= 1 s".into(), measured: "2 s".into(), command: "c".into() };
        let text = rows(&[figure]);
        let head: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
        assert!(document.contains(&head), "the head of the table has changed: {head}");
        assert!(text.ends_with("| a | <= 1 s | 2 s | `c` | | |\n"), "{text}");
    }
}
