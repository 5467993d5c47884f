//! fleet on nspawn nodes. Times are measured on the nodes, so that no figure includes the connection to them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::figure::Figure;
use crate::command::{require_success, show, show_and_read};
use crate::keelson;

/// Destroys the units that `started.sh` started.
const DESTROY_MOVED: &str = "bash -c 'fleetctl destroy moved@{1..6}.service' >/dev/null";
const STARTS: usize = 200;
const DEATHS: usize = 5;
/// fleetd's default.
const TTL: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
/// Seconds per minute.
const MINUTE: u64 = 60;

const USER_DATA: &str = "\
#cloud-config
coreos:
  etcd:
    addr: $private_ipv4:4001
    peer-addr: $private_ipv4:7001
  fleet:
    public-ip: $private_ipv4
  units:
    - name: etcd.service
      command: start
    - name: fleet.service
      command: start
";

/// Machines that are destroyed on drop.
struct Nodes {
    program: PathBuf,
    cluster: &'static str,
    names: Vec<String>,
    root: PathBuf,
}

impl Nodes {
    /// Boots the nodes and waits until each lists all.
    fn up(root: &Path, cluster: &'static str, count: usize) -> Result<Self> {
        let program = keelson::build(root)?;
        let folder = root.join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()));
        let user_data = folder.join("fleet-bench.yaml");
        std::fs::write(&user_data, USER_DATA).context("cannot write user-data")?;
        let mut nodes = Self { program, cluster, names: Vec::new(), root: root.to_path_buf() };
        let (number, file) = (count.to_string(), user_data.to_string_lossy().into_owned());
        // The released programs.
        let up =
            ["--json", "up", "--on", "nspawn", "--profile", "node", "--nodes", &number, "--user-data", &file];
        let report: Value = serde_json::from_str(&nodes.keelson(&up)?).context("up --json")?;
        let listed = report["nodes"].as_array().context("up --json has no nodes")?;
        nodes.names = listed.iter().filter_map(|node| node["name"].as_str().map(str::to_owned)).collect();
        if nodes.names.len() != count {
            bail!("{count} machines were asked for, and up --json names {:?}", nodes.names);
        }
        nodes.wait_for_all()?;
        Ok(nodes)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).args(["--cluster", self.cluster, "--quiet"]).args(arguments);
        command
    }

    fn keelson(&self, arguments: &[&str]) -> Result<String> {
        Ok(require_success(show_and_read(&mut self.command(arguments))?)?.stdout)
    }

    /// Runs a script on a machine.
    fn script(&self, node: &str, script: &str, argument: &str) -> Result<String> {
        let whole = format!("set -- {argument}\n{script}");
        let output = self.command(&["ssh", node, "--", &whole]).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("a script on {node} ended with {}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait_for_all(&self) -> Result<()> {
        let wait = format!(
            "until [ \"$(fleetctl list-machines --no-legend 2>/dev/null | wc -l)\" = {} ]; do sleep 0.2; done",
            self.names.len()
        );
        self.names.iter().try_for_each(|node| self.script(node, &wait, "").map(drop))
    }
}

impl Drop for Nodes {
    /// Also after a failure: a benchmark leaves no machine running.
    fn drop(&mut self) {
        let removed = show(self.command(&["destroy"]).stdout(Stdio::null()));
        if !removed.is_ok_and(|ended| ended.success) {
            eprintln!(
                "its machines could not be removed: `cargo keelson --cluster {} destroy`",
                self.cluster
            );
        }
    }
}

/// Start times on three machines, and the requests to etcd of an idle cluster.
pub fn starts_and_silence(root: &Path) -> Result<Vec<Figure>> {
    let nodes = Nodes::up(root, "bench-fleet", 3)?;
    let command = "cargo xtask bench fleet -- starts";
    let silence = silence(&nodes)?;
    let node = &nodes.names[0];
    let printed = nodes.script(node, include_str!("starts.sh"), &STARTS.to_string())?;
    let mut times: [Vec<f64>; 2] = Default::default();
    for line in printed.lines() {
        for (column, word) in times.iter_mut().zip(line.split_whitespace()) {
            column.push(word.parse::<f64>().with_context(|| format!("{word:?} is no time"))? / 1e3);
        }
    }
    let [mut returned, mut listed] = times;
    if listed.len() != STARTS {
        bail!("{STARTS} starts were asked for, and {} times printed", listed.len());
    }
    let what = format!("`fleetctl start` of a trivial unit on 3 nspawn nodes, {STARTS} starts, until");
    let row = |until: &str, target: &str, times: &mut [f64]| Figure {
        what: format!("{what} {until}"),
        target: target.to_owned().into(),
        measured: format!("p50 {:.0} ms, p99 {:.0} ms", share(times, 0.5), share(times, 0.99)),
        command: command.into(),
    };
    Ok(vec![
        row("`list-units` shows it active and running", "<= 200 ms p50, <= 500 ms p99", &mut listed),
        row("it has returned", "", &mut returned),
        Figure {
            what: "requests of three idle fleetds to the store in a minute".into(),
            target: "".into(),
            measured: silence,
            command: command.into(),
        },
    ])
}

fn share(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Reads are counted by the member that serves them, writes by every member.
fn silence(nodes: &Nodes) -> Result<String> {
    let count = || -> Result<(u64, u64)> {
        let (mut reads, mut writes) = (0, 0);
        for node in &nodes.names {
            let text = nodes.script(node, include_str!("statistics.sh"), "")?;
            let counters: Value = serde_json::from_str(&text).context("the store's counters")?;
            let all = counters.as_object().context("the store's counters")?;
            let sum = |of_reads: bool| -> u64 {
                let requests = all.iter().filter(|(name, _)| {
                    name.starts_with("gets") == of_reads
                        && (name.ends_with("Success") || name.ends_with("Fail"))
                });
                requests.filter_map(|(_, count)| count.as_u64()).sum()
            };
            reads += sum(true);
            writes = writes.max(sum(false));
        }
        Ok((reads, writes))
    };
    // Skips the initial heartbeats.
    std::thread::sleep(IDLE);
    let before = count()?;
    std::thread::sleep(Duration::from_secs(MINUTE));
    let after = count()?;
    let (reads, writes) = (after.0 - before.0, after.1 - before.1);
    Ok(format!("{} ({writes} writes, {reads} reads)", reads + writes))
}

/// Kills a machine: time until the last of its units starts elsewhere.
pub fn dies(root: &Path) -> Result<Vec<Figure>> {
    let nodes = Nodes::up(root, "bench-fleet", 3)?;
    let mut ids = Vec::new();
    for node in &nodes.names {
        ids.push(nodes.script(node, "cat /etc/machine-id", "")?.trim().to_owned());
    }
    nodes.script(&nodes.names[0], include_str!("started.sh"), "")?;
    let mut times = Vec::new();
    for run in 0..DEATHS {
        let victim = run % nodes.names.len();
        let survivors: Vec<&String> =
            nodes.names.iter().enumerate().filter(|(at, _)| *at != victim).map(|(_, name)| name).collect();
        let places = nodes.script(survivors[0], include_str!("places.sh"), "none")?;
        let concerned: Vec<&str> = places
            .lines()
            .filter_map(|line| line.split_whitespace().next().filter(|_| line.contains(&ids[victim])))
            .collect();
        let died = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        nodes.keelson(&["crash", &nodes.names[victim]])?;
        nodes.script(survivors[0], include_str!("places.sh"), &ids[victim])?;
        let mut last = 0.0_f64;
        for survivor in survivors {
            let since = nodes.script(survivor, include_str!("since.sh"), "")?;
            let moved = since.lines().filter_map(|line| line.split_once(' '));
            for (_, at) in moved.filter(|(unit, _)| concerned.contains(unit)) {
                last = last.max(at.parse::<f64>()? - died);
            }
        }
        eprintln!("run {run}: {} units, the last one after {last:.2} s", concerned.len());
        if !concerned.is_empty() {
            times.push(last);
        }
        nodes.keelson(&["start", &nodes.names[victim]])?;
        nodes.wait_for_all()?;
        // Gives each machine units to lose.
        nodes.script(&nodes.names[0], DESTROY_MOVED, "")?;
        nodes.script(&nodes.names[0], include_str!("started.sh"), "")?;
    }
    let each: Vec<String> = times.iter().map(|time| format!("{time:.2}")).collect();
    Ok(vec![Figure {
        what: format!(
            "a machine dies (`keelson crash`), TTL of {} s: the last of its units was started elsewhere after",
            TTL.as_secs()
        ),
        target: format!("<= {} s", TTL.as_secs() + 1).into(),
        measured: format!("{} s", each.join(", ")),
        command: "cargo xtask bench fleet -- dies".into(),
    }])
}

/// fleetd with a thousand units on its machine.
pub fn thousand(root: &Path) -> Result<Vec<Figure>> {
    let nodes = Nodes::up(root, "bench-fleet-1", 1)?;
    let node = &nodes.names[0];
    let mut figures = Vec::new();
    let mut measure = |state: &str, seconds: &str| -> Result<()> {
        let idle = nodes.script(node, include_str!("idle.sh"), &MINUTE.to_string())?;
        let [rss, pss, nanoseconds] = idle.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("idle.sh printed {idle:?}");
        };
        let mebibytes = |kibibytes: &str| kibibytes.parse::<f64>().map(|number| number / 1024.0);
        let share = nanoseconds.parse::<f64>()? / 1e9 / MINUTE as f64 * 100.0;
        figures.push(Figure {
            what: format!("fleetd, idle, {state}"),
            target: "<= 30 MiB, <= 0.5 % of a core".into(),
            measured: format!(
                "{:.1} MiB resident ({:.1} proportional), {share:.2} % over {MINUTE} s{seconds}",
                mebibytes(rss)?,
                mebibytes(pss)?
            ),
            command: "cargo xtask bench fleet -- thousand".into(),
        });
        Ok(())
    };
    measure("no unit", "")?;
    for (verb, state) in [("load", "1,000 units loaded on its node"), ("start", "the same 1,000 launched")] {
        let took = nodes.script(node, include_str!("thousand.sh"), verb)?;
        measure(state, &format!("; all listed so after {} s", took.trim()))?;
    }
    Ok(figures)
}
