//! A unit on every machine that records when it runs, in which boot, and whether its writes to etcd succeed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::calibration::{Limit, Slowdown};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// Writes four times a second, to the local etcd and over one connection: forking would cost an emulated machine
/// more than etcd does. Lines are `TIME BOOT`, or `TIME BOOT written` if etcd acknowledged the write.
pub const WRITER: &str = r#"    - name: writer.service
      command: start
      content: |
        [Service]
        Restart=always
        ExecStart=/usr/bin/bash -c 'boot=$$(cat /proc/sys/kernel/random/boot_id); me=$$(cat /etc/machine-id); \
          curl -s --rate 4/s -m 2 -o /dev/null -w "%%{stderr}%%{http_code}\n" -X PUT -d value=x \
          "http://127.0.0.1:2379/v2/keys/written/$$me?n=[1-1000000]" 2>&1 >/dev/null | while read -r code; do \
          case $$code in 20?) said=" written";; *) said="";; esac; \
          echo "$$EPOCHREALTIME $$boot$$said"; done >>/home/core/beats/boots-$$me'
"#;

/// Number of entries of each list that [`Recording`] prints.
const PRINTED: usize = 8;
/// A machine whose last line is older than this when the recording ends has stopped writing. Clocks of emulated
/// machines differ by a second.
const FRESH: Duration = Duration::from_secs(4);
/// Maximal time between two writes of a running machine. On emulated machines 1.0 s to 3.3 s were measured for the
/// whole cluster.
const SILENCE: Limit = Limit { promised: Duration::from_secs(2), emulated: Duration::from_secs(6) };
/// Maximal time from the writer's start in a later boot to its first write, while the member starts too.
const REJOIN: Limit = Limit { promised: Duration::from_secs(10), emulated: Duration::from_secs(120) };

/// One boot of a machine as its writer recorded it.
#[derive(Debug)]
pub struct Boot {
    pub first: Duration,
    pub last: Duration,
    /// Acknowledged writes, ascending.
    writes: Vec<Duration>,
}

/// An interval without acknowledged writes of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Silence<'a> {
    machine: &'a str,
    from: Duration,
    lasted: Duration,
}

#[derive(Debug, Default)]
pub struct Recording {
    /// The boots of each machine in order, by machine id.
    pub boots: BTreeMap<String, Vec<Boot>>,
}

pub fn read(folder: &Path) -> Result<Recording, Failure> {
    let failed = |source| Failure::Disk { path: folder.to_path_buf(), source };
    let mut recording = Recording::default();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(machine) = name.strip_prefix("boots-") else { continue };
        let content = std::fs::read_to_string(entry.path()).map_err(failed)?;
        recording.take(machine, &content);
    }
    Ok(recording)
}

impl Recording {
    fn take(&mut self, machine: &str, content: &str) {
        let boots = self.boots.entry(machine.to_owned()).or_default();
        let mut id = "";
        // A line without its end is still being written.
        for line in content.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let fields: Vec<_> = line.split(' ').collect();
            let (Some(time), Some(boot)) =
                (fields.first().and_then(|field| field.parse().ok()), fields.get(1))
            else {
                continue;
            };
            let time = Duration::from_secs_f64(time);
            if *boot != id {
                boots.push(Boot { first: time, last: time, writes: Vec::new() });
                id = boot;
            }
            if let Some(boot) = boots.last_mut() {
                boot.last = time;
                if fields.get(2) == Some(&"written") {
                    boot.writes.push(time);
                }
            }
        }
    }

    /// When each machine was down: from the last line of a boot to the first line of the next; sorted by start.
    pub fn downtimes(&self) -> Vec<(String, Duration, Duration)> {
        let mut downtimes: Vec<_> = self
            .boots
            .iter()
            .flat_map(|(machine, boots)| {
                boots.windows(2).map(move |pair| (machine.clone(), pair[0].last, pair[1].first))
            })
            .collect();
        downtimes.sort_by_key(|(_, from, _)| *from);
        downtimes
    }

    /// Checks that no two machines were down at a time.
    pub fn one_at_a_time(&self) -> Result<(), Failure> {
        let downtimes = self.downtimes();
        let apart = downtimes.windows(2).all(|pair| pair[0].2 < pair[1].1);
        let entries: Vec<_> = downtimes
            .iter()
            .map(|(machine, from, to)| {
                format!("{machine:.8} from {:.1} to {:.1}", from.as_secs_f64(), to.as_secs_f64())
            })
            .collect();
        expect(apart, "machines away one after the other", &entries.join(", "))
    }

    /// Checks that each machine could write whenever it ran, except during its member's start after a reboot.
    pub fn each_could_write(&self, context: &Context<'_>, slowdown: Slowdown) -> Result<(), Failure> {
        for (limit, what, found) in [
            (SILENCE, "longest time without a write on a running machine", self.silences()),
            (REJOIN, "first write after a reboot", self.rejoins()),
        ] {
            within(limit.on(context, slowdown, what), what, &found)?;
        }
        Ok(())
    }

    /// Time of the last line of any machine.
    fn end(&self) -> Duration {
        self.boots.values().filter_map(|boots| Some(boots.last()?.last)).max().unwrap_or_default()
    }

    /// The boots of each machine, each with its end: its last line, or for the last boot the end of the recording
    /// if the machine stopped writing earlier.
    fn with_ends(&self) -> impl Iterator<Item = (&str, usize, &Boot, Duration)> {
        let end = self.end();
        self.boots.iter().flat_map(move |(machine, boots)| {
            boots.iter().enumerate().map(move |(number, boot)| {
                let stopped = number + 1 == boots.len() && end.saturating_sub(boot.last) > FRESH;
                (machine.as_str(), number, boot, if stopped { end } else { boot.last })
            })
        })
    }

    /// Intervals between the writes of one boot, and after its last write; the longest first. Reboots are excluded:
    /// a machine is down from its last line with one boot id to its first line with the next.
    fn silences(&self) -> Vec<Silence<'_>> {
        longest_first(self.with_ends().flat_map(|(machine, _, boot, with_ends)| {
            let ends = boot.writes.iter().skip(1).copied().chain([with_ends]);
            boot.writes.iter().zip(ends).map(move |(from, to)| Silence::new(machine, *from, to))
        }))
    }

    /// The longest time without a write of any machine.
    fn store_silence(&self) -> Duration {
        let mut writes: Vec<_> = self.writes().collect();
        writes.sort_unstable();
        writes.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default()
    }

    /// Writes of all machines, unordered.
    fn writes(&self) -> impl Iterator<Item = Duration> {
        self.boots.values().flatten().flat_map(|boot| boot.writes.iter().copied())
    }

    /// Intervals from the first line of each later boot to its first write; the longest first. The first boot of a
    /// machine forms the cluster.
    fn rejoins(&self) -> Vec<Silence<'_>> {
        longest_first(self.with_ends().filter(|(_, number, ..)| *number > 0).map(
            |(machine, _, boot, with_ends)| {
                Silence::new(machine, boot.first, boot.writes.first().copied().unwrap_or(with_ends))
            },
        ))
    }
}

impl<'a> Silence<'a> {
    fn new(machine: &'a str, from: Duration, to: Duration) -> Self {
        Self { machine, from, lasted: to.saturating_sub(from) }
    }
}

/// Checks the longest interval. An empty list is a failure too: nothing was recorded.
fn within(allowed: Duration, what: &str, longest_first: &[Silence<'_>]) -> Result<(), Failure> {
    let worst = longest_first.first();
    let entries = worst.map_or("no recording".to_owned(), ToString::to_string);
    expect(
        worst.is_some_and(|worst| worst.lasted <= allowed),
        &format!("{what}: {allowed:?} at most"),
        &entries,
    )
}

fn longest_first<'a>(all: impl Iterator<Item = Silence<'a>>) -> Vec<Silence<'a>> {
    let mut all: Vec<_> = all.collect();
    all.sort_by_key(|silence| std::cmp::Reverse(silence.lasted));
    all
}

impl fmt::Display for Silence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} s on {:.8} at {:.0}",
            self.lasted.as_secs_f64(),
            self.machine,
            self.from.as_secs_f64()
        )
    }
}

/// Prints the longest silences of all machines, the rejoins, and the downtimes, in seconds since the first write.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.writes().min().unwrap_or_default();
        let store = self.store_silence().as_secs_f64();
        write!(f, "{} writes, {store:.1} s at most without any", self.writes().count())?;
        for (what, all) in [("longest of a machine", self.silences()), ("rejoined after", self.rejoins())] {
            write!(f, "; {what}:")?;
            for silence in all.into_iter().take(PRINTED) {
                let since = Silence { from: silence.from.saturating_sub(first), ..silence };
                write!(f, " {since},")?;
            }
        }
        write!(f, "; away:")?;
        for (machine, from, to) in self.downtimes() {
            let since = |time: Duration| time.saturating_sub(first).as_secs_f64();
            write!(f, " {machine:.8} from {:.0} to {:.0},", since(from), since(to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(machines: &[(&str, &str)]) -> Recording {
        let mut recording = Recording::default();
        machines.iter().for_each(|(machine, content)| recording.take(machine, content));
        recording
    }

    fn check(found: &[Silence<'_>], expect: &[(&str, f64, f64)]) {
        let found: Vec<_> =
            found.iter().map(|one| (one.machine, one.from.as_secs_f64(), one.lasted.as_secs_f64())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn boots_and_writes() {
        let mut recording = recording(&[
            ("a", "1.0 x\n1.5 x written\n9.0 y\n9.25 y written\n9.5 y\n9.7"),
            ("b", "1.0 z\n10.0 z\n12.0 w\n13.0 w written\n"),
        ]);
        assert_eq!(recording.boots["a"].len(), 2);
        let seconds: Vec<_> = recording
            .downtimes()
            .iter()
            .map(|(m, f, t)| (m.clone(), f.as_secs_f64(), t.as_secs_f64()))
            .collect();
        assert_eq!(seconds, [("a".to_owned(), 1.5, 9.0), ("b".to_owned(), 10.0, 12.0)]);
        assert!(recording.one_at_a_time().is_ok());
        recording.take("c", "1.0 x\n8.9 x\n30.0 y\n");
        assert!(recording.one_at_a_time().is_err());
    }

    #[test]
    fn a_refused_machine_is_found_next_to_one_that_writes() {
        let refused = "1 x written\n2 x\n3 x\n4 x\n5 x\n6 x written\n";
        let writes: String =
            (4..=24).map(|quarter| format!("{} z written\n", f64::from(quarter) / 4.0)).collect();
        let recording = recording(&[("a", refused), ("b", &writes)]);
        check(&recording.silences()[..2], &[("a", 1.0, 5.0), ("b", 1.0, 0.25)]);
        assert_eq!(
            recording.store_silence(),
            Duration::from_millis(250),
            "the store as a whole does not show it"
        );
        assert!(within(Duration::from_secs(5), "a write", &recording.silences()).is_ok());
        let failure = within(Duration::from_secs(4), "a write", &recording.silences()).unwrap_err();
        assert_eq!(failure.to_string(), "expected a write: 4s at most; seen: 5.0 s on a at 1");
        assert!(within(Duration::MAX, "a write", &[]).is_err());
    }

    #[test]
    fn a_machine_is_excused_only_while_it_is_down() {
        let recording = recording(&[(
            "a",
            "1 x written\n2 x written\n2.5 x\n60 y\n61 y\n64 y written\n64.5 y written\n",
        )]);
        check(&recording.silences(), &[("a", 1.0, 1.0), ("a", 2.0, 0.5), ("a", 64.0, 0.5), ("a", 64.5, 0.0)]);
        check(&recording.rejoins(), &[("a", 60.0, 4.0)]);
        assert_eq!(
            recording.to_string(),
            "4 writes, 62.0 s at most without any; longest of a machine: 1.0 s on a at 0, 0.5 s on a at 1, 0.5 s on a at 63, 0.0 s on a at 64,; \
             rejoined after: 4.0 s on a at 59,; away: a from 2 to 59,"
        );
    }

    #[test]
    fn a_machine_that_never_writes_again_counts_to_the_end() {
        let goes_on = "1 z written\n50 z written\n";
        // Refused up to its last line, without any lines, and in a boot without any write.
        let all = recording(&[("a", "1 x written\n2 x\n49 x\n"), ("b", goes_on)]);
        check(&all.silences()[..2], &[("b", 1.0, 49.0), ("a", 1.0, 48.0)]);
        let all = recording(&[("a", "1 x written\n2 x\n"), ("b", goes_on)]);
        check(&all.silences()[..1], &[("a", 1.0, 49.0)]);
        let all = recording(&[("a", "1 x written\n10 y\n20 y\n"), ("b", goes_on)]);
        check(&all.rejoins(), &[("a", 10.0, 40.0)]);
        // The first boot forms the cluster.
        check(&recording(&[("a", "1 x\n30 x written\n")]).rejoins(), &[]);
    }
}
