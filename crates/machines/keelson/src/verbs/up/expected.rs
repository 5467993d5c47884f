//! How long machines will take to get ready on this host, from how long they took before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machines::cluster::BackendKind;
use machines::store::{read_limited, replace};
use serde::{Deserialize, Serialize};

/// In the folder of the clusters' files.
const FILE: &str = "boot-times.json";
const FILE_MAX: u64 = 4096;
/// Of two that were measured, the share of the later one.
const NEW: f64 = 0.5;

/// What runs machines, as it matters for their speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Container,
    Virtual,
    Emulated,
}

impl Kind {
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

    /// Processor seconds of a machine's boot with the sample, where none was measured yet: see docs/benchmarks.md.
    fn usual(self) -> f64 {
        match self {
            Self::Container => 3.0,
            Self::Virtual => 12.0,
            Self::Emulated => 75.0,
        }
    }
}

/// By the name of the kind: processor seconds of one machine's boot on this host.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times(BTreeMap<String, f64>);

impl Times {
    /// Without what cannot be read: it is only a guess.
    pub fn read(state_dir: &Path) -> Self {
        let bytes = read_limited(&path(state_dir), FILE_MAX).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    pub fn expected(&self, kind: Kind, nodes: usize, cores: usize) -> Duration {
        let each = self.0.get(kind.name()).copied().unwrap_or_else(|| kind.usual()).max(0.0);
        // More machines than cores share them.
        Duration::from_secs_f64((each * rounds(nodes, cores)).min(f64::from(u32::MAX)))
    }

    pub fn note(&mut self, kind: Kind, nodes: usize, cores: usize, took: Duration) {
        let each = took.as_secs_f64() / rounds(nodes, cores);
        let before = self.0.get(kind.name()).copied().unwrap_or(each);
        self.0.insert(kind.name().to_owned(), before + (each - before) * NEW);
    }

    pub fn write(&self, state_dir: &Path) -> std::io::Result<()> {
        replace(&path(state_dir), &serde_json::to_vec(self)?)
    }
}

/// One after the other on each core.
fn rounds(nodes: usize, cores: usize) -> f64 {
    let (nodes, cores) = (u32::try_from(nodes).unwrap_or(u32::MAX), u32::try_from(cores).unwrap_or(1));
    (f64::from(nodes) / f64::from(cores.max(1))).max(1.0)
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// `about 2 min for 3 emulated machines`, and how to get them sooner.
pub fn line(kind: Kind, nodes: usize, expected: Duration) -> String {
    let seconds = expected.as_secs();
    let time = match seconds {
        0..=4 => "a few seconds".to_owned(),
        5..=89 => format!("about {} s", seconds.div_ceil(5) * 5),
        _ => format!("about {} min", (seconds + 30) / 60),
    };
    let (what, s) = match kind {
        Kind::Container => ("container", "s"),
        Kind::Virtual => ("machine", "s"),
        Kind::Emulated => ("emulated machine", "s"),
    };
    let sooner = match (kind, nodes) {
        (Kind::Emulated, 1) => "; sooner: --on nspawn",
        (Kind::Emulated, _) => "; sooner: --on nspawn, or --nodes 1",
        _ => "",
    };
    format!("{time} for {nodes} {what}{}{sooner}", if nodes == 1 { "" } else { s })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_gets_better() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = Times::read(folder.path());
        assert_eq!(times, Times::default());
        let expected = |times: &Times, nodes| times.expected(Kind::Emulated, nodes, 2).as_secs();
        assert_eq!((expected(&times, 1), expected(&times, 3)), (75, 112));
        times.note(Kind::Emulated, 3, 2, Duration::from_secs(60));
        assert_eq!(expected(&times, 3), 60);
        times.note(Kind::Emulated, 1, 2, Duration::from_secs(80));
        assert_eq!(expected(&times, 1), 60);
        times.write(folder.path()).unwrap();
        assert_eq!(Times::read(folder.path()), times);
        std::fs::write(folder.path().join(FILE), "nonsense").unwrap();
        assert_eq!(Times::read(folder.path()), Times::default());
    }

    #[test]
    fn the_line_says_how_to_get_them_sooner() {
        let check = |kind, nodes, seconds, expect: &str| {
            assert_eq!(line(kind, nodes, Duration::from_secs(seconds)), expect);
        };
        check(
            Kind::Emulated,
            3,
            110,
            "about 2 min for 3 emulated machines; sooner: --on nspawn, or --nodes 1",
        );
        check(Kind::Emulated, 1, 41, "about 45 s for 1 emulated machine; sooner: --on nspawn");
        check(Kind::Virtual, 2, 12, "about 15 s for 2 machines");
        check(Kind::Container, 3, 2, "a few seconds for 3 containers");
    }
}
