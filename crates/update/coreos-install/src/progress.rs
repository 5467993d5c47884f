//! Progress on stderr: a changing line on a terminal, otherwise a line every ten seconds.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use disk_install::Phase;

pub struct Progress {
    is_terminal: bool,
    last: Option<(Phase, Instant)>,
}

impl Progress {
    pub fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), last: None }
    }

    pub fn report(&mut self, phase: Phase, done: u64, total: u64) {
        let interval = if self.is_terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
        let is_due = match self.last {
            Some((last, reported)) => last != phase || reported.elapsed() >= interval,
            None => true,
        };
        if !is_due && done < total {
            return;
        }
        self.last = Some((phase, Instant::now()));
        let name = match phase {
            Phase::Writing => "writing",
            Phase::Verifying => "verifying",
        };
        let end = if self.is_terminal && done < total { '\r' } else { '\n' };
        let mut stderr = std::io::stderr();
        // A closed stderr must not end an installation.
        drop(write!(stderr, "  {name:<9} {:>3} %{end}", done.saturating_mul(100) / total.max(1)));
        drop(stderr.flush());
    }
}
