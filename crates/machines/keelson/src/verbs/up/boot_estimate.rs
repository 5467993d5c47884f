//! Estimates the boot time of machines on this host from earlier boots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machines::cluster::BackendKind;
use machines::store::{read_limited, replace};
use serde::{Deserialize, Serialize};

const FILE: &str = "boot-times.json";
const FILE_MAX: u64 = 4096;
const NEW_WEIGHT: f64 = 0.5;

/// Kinds of machines that differ in speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineKind {
    Container,
    Virtual,
    Emulated,
}

impl MachineKind {
    pub fn of(backend: BackendKind, is_emulated: bool) -> Self {
        match (backend, is_emulated) {
            (BackendKind::Nspawn, _) => Self::Container,
            (BackendKind::Qemu, false) => Self::Virtual,
            (BackendKind::Qemu, true) => Self::Emulated,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Virtual => "virtual",
            Self::Emulated => "emulated",
        }
    }

    /// Processor seconds of a machine's boot with the sample user-data, without measurements: see docs/benchmarks.md.
    fn default_seconds(self) -> f64 {
        match self {
            Self::Container => 3.0,
            Self::Virtual => 12.0,
            Self::Emulated => 75.0,
        }
    }
}

/// Processor seconds of one machine's boot on this host, by kind.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BootTimes(BTreeMap<String, f64>);

impl BootTimes {
    /// Ignores unreadable data, since it is an estimate only.
    pub fn read(state_dir: &Path) -> Self {
        let bytes = read_limited(&path(state_dir), FILE_MAX).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub fn estimate(&self, kind: MachineKind, nodes: usize, cores: usize) -> Duration {
        let each = self.0.get(kind.name()).copied().unwrap_or_else(|| kind.default_seconds()).max(0.0);
        // Machines beyond the number of cores share them.
        Duration::from_secs_f64((each * rounds(nodes, cores)).min(f64::from(u32::MAX)))
    }

    pub fn record(&mut self, kind: MachineKind, nodes: usize, cores: usize, took: Duration) {
        let each = took.as_secs_f64() / rounds(nodes, cores);
        let before = self.0.get(kind.name()).copied().unwrap_or(each);
        self.0.insert(kind.name().to_owned(), before + (each - before) * NEW_WEIGHT);
    }

    pub fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        replace(&path(state_dir), &serde_json::to_vec(self)?)
    }
}

/// How many machines each core boots in sequence.
fn rounds(nodes: usize, cores: usize) -> f64 {
    let (nodes, cores) = (u32::try_from(nodes).unwrap_or(u32::MAX), u32::try_from(cores).unwrap_or(1));
    (f64::from(nodes) / f64::from(cores.max(1))).max(1.0)
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// `about 2 min for 3 emulated machines`, with a suggestion if there are faster options.
pub fn describe(kind: MachineKind, nodes: usize, estimate: Duration) -> String {
    let seconds = estimate.as_secs();
    let time = match seconds {
        0..=4 => "a few seconds".to_owned(),
        5..=89 => format!("about {} s", seconds.div_ceil(5) * 5),
        _ => format!("about {} min", (seconds + 30) / 60),
    };
    let (what, s) = match kind {
        MachineKind::Container => ("container", "s"),
        MachineKind::Virtual => ("machine", "s"),
        MachineKind::Emulated => ("emulated machine", "s"),
    };
    let suggestion = match (kind, nodes) {
        (MachineKind::Emulated, 1) => "; faster: --on nspawn",
        (MachineKind::Emulated, _) => "; faster: --on nspawn, or --nodes 1",
        _ => "",
    };
    format!("{time} for {nodes} {what}{}{suggestion}", if nodes == 1 { "" } else { s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_follow_measurements() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = BootTimes::read(folder.path());
        assert_eq!(times, BootTimes::default());
        let estimate = |times: &BootTimes, nodes| times.estimate(MachineKind::Emulated, nodes, 2).as_secs();
        assert_eq!((estimate(&times, 1), estimate(&times, 3)), (75, 112));
        times.record(MachineKind::Emulated, 3, 2, Duration::from_secs(60));
        assert_eq!(estimate(&times, 3), 60);
        times.record(MachineKind::Emulated, 1, 2, Duration::from_secs(80));
        assert_eq!(estimate(&times, 1), 60);
        times.write(folder.path()).unwrap();
        assert_eq!(BootTimes::read(folder.path()), times);
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();
        assert_eq!(BootTimes::read(folder.path()), BootTimes::default());
    }

    #[test]
    fn the_estimate_suggests_faster_options() {
        let check = |kind, nodes, seconds, expect: &str| {
            assert_eq!(describe(kind, nodes, Duration::from_secs(seconds)), expect);
        };
        check(
            MachineKind::Emulated,
            3,
            110,
            "about 2 min for 3 emulated machines; faster: --on nspawn, or --nodes 1",
        );
        check(MachineKind::Emulated, 1, 41, "about 45 s for 1 emulated machine; faster: --on nspawn");
        check(MachineKind::Virtual, 2, 12, "about 15 s for 2 machines");
        check(MachineKind::Container, 3, 2, "a few seconds for 3 containers");
    }
}
