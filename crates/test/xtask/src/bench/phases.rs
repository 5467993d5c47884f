//! Cost of an emulated machine's boot by phase: processor seconds of QEMU, and time.
//!
//! Processor seconds vary less from day to day than times, and are the resource that several machines share.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::NO_USER_DATA;
use super::figure::Figure;
use super::qemu::{Cost, Machine};

const ROUNDS: usize = 3;
const CLUSTER: &str = "phases";
/// Console log of the first machine, below the cluster's folder.
const CONSOLE: &str = "core-01/console.log";
const READY: &str = "core-01/host/ready.json";
/// Poll interval.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Console output at the end of each phase, and the phase's name.
const ENDS: [(&str, &str, &str); 3] = [
    (CONSOLE, "BdsDxe: starting", "firmware"),
    (READY, "\"state\":\"starting\"", "kernel, initrd, first units"),
    (READY, "\"state\":\"ready\"", "provisioning and services"),
];

/// Measures each phase of a boot without user-data, and with the sample.
pub fn figures(program: &Path, root: &Path) -> Result<Vec<Figure>> {
    let sample = root.join("cloud-config/user-data.sample");
    let sample = sample.to_str().context("the checkout's path is no text")?;
    let mut figures = Vec::new();
    for (what, user_data) in [("no user-data", NO_USER_DATA), ("the sample", sample)] {
        let mut boots = Vec::new();
        for round in 1..=ROUNDS {
            eprintln!("boot {round} of {ROUNDS}, {what}");
            boots.push(boot(program, user_data)?);
        }
        figures.extend(rows(what, user_data, &boots));
    }
    Ok(figures)
}

/// The median of each phase.
fn rows(what: &str, user_data: &str, boots: &[[Cost; ENDS.len()]]) -> Vec<Figure> {
    let median = |of: &dyn Fn(&[Cost; ENDS.len()]) -> f64| {
        let mut all: Vec<f64> = boots.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let row = |name: &str, processor: f64, time: f64| Figure {
        what: format!("emulated boot, {what}: {name}"),
        target: "".into(),
        measured: format!("{processor:.1} s processor, {time:.1} s"),
        command: format!(
            "cargo xtask bench phases (up --nodes 1 --user-data {user_data}, {} boots)",
            boots.len()
        ),
    };
    let phase = |at: usize| {
        let before = |boot: &[Cost; ENDS.len()]| if at == 0 { Cost::default() } else { boot[at - 1] };
        let processor = median(&|boot| boot[at].processor - before(boot).processor);
        row(ENDS[at].2, processor, median(&|boot| boot[at].time - before(boot).time))
    };
    let last = ENDS.len() - 1;
    let whole = row("all until ready", median(&|boot| boot[last].processor), median(&|boot| boot[last].time));
    (0..ENDS.len()).map(phase).chain([whole]).collect()
}

/// Returns the machine's cost at the end of each phase.
fn boot(program: &Path, user_data: &str) -> Result<[Cost; ENDS.len()]> {
    let folder = tempfile::tempdir().context("a folder for the machine")?;
    let keelson = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--state-dir").arg(folder.path()).args(["--cluster", CLUSTER, "--quiet"]).args(arguments);
        command.stdin(Stdio::null());
        command
    };
    let mut up = keelson(&["up", "--nodes", "1", "--user-data", user_data])
        .stdout(Stdio::null())
        .spawn()
        .context("cannot run keelson")?;
    let costs = watch(&folder.path().join(CLUSTER), || Ok(up.try_wait()?.is_some()));
    let done = up.wait()?;
    let removed = keelson(&["destroy"]).status().context("cannot run keelson")?;
    if !done.success() || !removed.success() {
        bail!("the machine did not come up, or was not removed");
    }
    costs
}

/// Polls until the machine is ready.
fn watch(cluster: &Path, mut has_ended: impl FnMut() -> Result<bool>) -> Result<[Cost; ENDS.len()]> {
    let mut costs = [Cost::default(); ENDS.len()];
    let mut next = 0;
    while let Some((file, mark, name)) = ENDS.get(next) {
        let ended = has_ended()?;
        if let Some(cost) = Machine::read(cluster).and_then(|machine| Cost::of(machine.pid)) {
            // The console log is not valid UTF-8 everywhere.
            let text = fs::read(cluster.join(file)).unwrap_or_default();
            if String::from_utf8_lossy(&text).contains(mark) {
                costs[next] = cost;
                next += 1;
                continue;
            }
        }
        if ended {
            bail!("the machine's boot has ended, and the end of its phase `{name}` was not seen");
        }
        sleep(POLL_INTERVAL);
    }
    Ok(costs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_counts_from_the_end_of_the_one_before() {
        let cost = |processor, time| Cost { processor, time };
        let boots = [[cost(5.0, 6.0), cost(25.0, 30.0), cost(40.0, 50.0)]];
        let measured: Vec<String> = rows("x", "y", &boots).into_iter().map(|row| row.measured).collect();
        assert_eq!(
            measured,
            [
                "5.0 s processor, 6.0 s",
                "20.0 s processor, 24.0 s",
                "15.0 s processor, 20.0 s",
                "40.0 s processor, 50.0 s"
            ]
        );
    }
}
