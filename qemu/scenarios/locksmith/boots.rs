//! A unit of every machine that writes down when it runs, in which boot, and whether it could write to the store.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, expect};

/// Four times a second, to the machine's own store and over one connection: processes that come and go cost an emulated
/// machine more than the store does. Its lines are `TIME BOOT`, and `TIME BOOT written` where the store took the write.
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

/// So many of the longest silences are told.
const SHOWN: usize = 8;

/// What one machine wrote: its boots in their order, each from its first line to its last.
pub type Boots = Vec<(Duration, Duration)>;

#[derive(Debug, Default)]
pub struct Seen {
    /// By machine id.
    pub boots: BTreeMap<String, Boots>,
    /// When a write to the store was done, from any machine; ascending.
    pub writes: Vec<Duration>,
}

pub fn read(folder: &Path) -> Result<Seen, Failure> {
    let failed = |source| Failure::Disk { path: folder.to_path_buf(), source };
    let mut seen = Seen::default();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(machine) = name.strip_prefix("boots-") else { continue };
        let content = std::fs::read_to_string(entry.path()).map_err(failed)?;
        seen.take(machine, &content);
    }
    seen.writes.sort_unstable();
    Ok(seen)
}

impl Seen {
    fn take(&mut self, machine: &str, content: &str) {
        let boots = self.boots.entry(machine.to_owned()).or_default();
        let mut last = "";
        // A line whose end is missing is being written.
        for line in content.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<_> = line.split(' ').collect();
            let (Some(time), Some(boot)) = (words.first().and_then(|word| word.parse().ok()), words.get(1))
            else {
                continue;
            };
            let time = Duration::from_secs_f64(time);
            if *boot == last {
                if let Some(run) = boots.last_mut() {
                    run.1 = time;
                }
            } else {
                boots.push((time, time));
                last = boot;
            }
            if words.get(2) == Some(&"written") {
                self.writes.push(time);
            }
        }
    }

    /// From when to when each machine was away, by the time that it went.
    pub fn away(&self) -> Vec<(String, Duration, Duration)> {
        let mut away: Vec<_> = self
            .boots
            .iter()
            .flat_map(|(machine, boots)| {
                boots.windows(2).map(move |pair| (machine.clone(), pair[0].1, pair[1].0))
            })
            .collect();
        away.sort_by_key(|(_, from, _)| *from);
        away
    }

    /// No two machines were away at a time.
    pub fn one_at_a_time(&self) -> Result<(), Failure> {
        let away = self.away();
        let apart = away.windows(2).all(|pair| pair[0].2 < pair[1].1);
        let shown: Vec<_> = away
            .iter()
            .map(|(machine, from, to)| {
                format!("{machine:.8} from {:.1} to {:.1}", from.as_secs_f64(), to.as_secs_f64())
            })
            .collect();
        expect(apart, "machines away one after the other", &shown.join(", "))
    }

    /// The longest time between two writes that the store took.
    pub fn longest_silence(&self) -> Duration {
        self.silences().first().map_or(Duration::MAX, |(_, silence)| *silence)
    }

    /// From when for how long the store took no write; the longest first.
    fn silences(&self) -> Vec<(Duration, Duration)> {
        let mut all: Vec<_> =
            self.writes.windows(2).map(|pair| (pair[0], pair[1].saturating_sub(pair[0]))).collect();
        all.sort_by_key(|(_, silence)| std::cmp::Reverse(*silence));
        all
    }
}

/// The longest silences, and when machines were away, in seconds since the first write.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = |time: Duration| {
            time.saturating_sub(self.writes.first().copied().unwrap_or_default()).as_secs_f64()
        };
        write!(f, "{} writes; longest without any:", self.writes.len())?;
        for (from, silence) in self.silences().into_iter().take(SHOWN) {
            write!(f, " {:.1} s at {:.0};", silence.as_secs_f64(), since(from))?;
        }
        write!(f, " away:")?;
        for (machine, from, to) in self.away() {
            write!(f, " {machine:.8} from {:.0} to {:.0};", since(from), since(to))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_and_writes() {
        let mut seen = Seen::default();
        seen.take("a", "1.0 x\n1.5 x written\n9.0 y written\n9.5 y\n9.7");
        seen.take("b", "1.0 z\n10.0 z\n12.0 w\n13.0 w written\n");
        assert_eq!(seen.boots["a"].len(), 2);
        let seconds: Vec<_> =
            seen.away().iter().map(|(m, f, t)| (m.clone(), f.as_secs_f64(), t.as_secs_f64())).collect();
        assert_eq!(seconds, [("a".to_owned(), 1.5, 9.0), ("b".to_owned(), 10.0, 12.0)]);
        assert!(seen.one_at_a_time().is_ok());
        assert_eq!(seen.longest_silence(), Duration::from_millis(7500));
        assert_eq!(
            seen.to_string(),
            "3 writes; longest without any: 7.5 s at 0; 4.0 s at 8; away: a from 0 to 8; b from 8 to 10;"
        );
        seen.take("c", "1.0 x\n8.9 x\n30.0 y\n");
        assert!(seen.one_at_a_time().is_err());
    }
}
