//! Progress output of long operations: one line per step, with its result and duration.
//!
//! Everything goes to stderr, since stdout is for results. On a terminal a running step is a live line; otherwise a
//! line is printed at its end, and periodically while it runs. It has no influence on the work.

#![warn(missing_docs)]

mod periodic;

use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use periodic::PeriodicNotices;

/// Minimal width of a step's name.
const NAME_WIDTH: usize = 9;
/// Width of a step's name and result.
const TEXT_WIDTH: usize = 72;
const TICK: Duration = Duration::from_millis(120);
/// Without a terminal, a running step prints a line after this time, and then one in each interval.
const SILENCE: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(30);

/// The terminal's live lines, one for each concurrent step.
static LIVE: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Whether steps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A live line on a terminal, otherwise one line per finished step.
    Visible,
    /// Neither steps nor notes are printed.
    Quiet,
}

impl Progress {
    /// Starts a step; it ends with [`Step::done`], or as a failure on drop.
    #[must_use]
    pub fn step(self, name: &str) -> Step {
        let bar = match self {
            Self::Visible => LIVE.add(ProgressBar::no_length()),
            Self::Quiet => ProgressBar::hidden(),
        };
        // invariant: the template is valid: see the test `live_line_is_valid`.
        bar.set_style(
            ProgressStyle::with_template(LIVE_LINE).unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_prefix(format!("{name:<NAME_WIDTH$} "));
        bar.enable_steady_tick(TICK);
        let (step, started) = (name.to_owned(), Instant::now());
        let notices = (self == Self::Visible && bar.is_hidden()).then(|| {
            PeriodicNotices::start(SILENCE, INTERVAL, move |detail| {
                // If stderr is closed, the work continues without notices.
                drop(writeln!(io::stderr(), "{}", line(&step, &format!("... {detail}"), started.elapsed())));
            })
        });
        Step { name: name.to_owned(), visibility: self, started, bar, notices }
    }

    /// Prints a note above the running steps.
    pub fn note(self, text: &str) {
        if self == Self::Visible {
            LIVE.suspend(|| eprintln!(" {text}"));
        }
    }
}

const LIVE_LINE: &str = " {prefix}{wide_msg} {elapsed:>6} {spinner}";

/// A running step. Dropping it without a result ends its live line.
#[derive(Debug)]
pub struct Step {
    name: String,
    visibility: Progress,
    started: Instant,
    bar: ProgressBar,
    /// Set if there is no terminal.
    notices: Option<PeriodicNotices>,
}

impl Step {
    /// Sets the step's current detail.
    pub fn set(&self, detail: impl Into<String>) {
        let detail = detail.into();
        if let Some(notices) = &self.notices {
            notices.set(&detail);
        }
        self.bar.set_message(detail);
    }

    /// Ends the step with its result and returns its duration.
    pub fn done(mut self, result: &str) -> Duration {
        let elapsed = self.started.elapsed();
        drop(self.notices.take());
        self.bar.finish_and_clear();
        if self.visibility == Progress::Visible {
            LIVE.suspend(|| eprintln!("{}", line(&self.name, result, elapsed)));
        }
        elapsed
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The line of a finished step.
fn line(name: &str, result: &str, elapsed: Duration) -> String {
    let text = format!("{name:<NAME_WIDTH$} {result}");
    format!(" {text:<TEXT_WIDTH$} {}", duration(elapsed))
}

/// `1.2 s` below ten seconds, `41 s` below two minutes, `3 min 12 s` above.
#[must_use]
pub fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds >= 120 {
        format!("{} min {:>2} s", seconds / 60, seconds % 60)
    } else if seconds >= 10 {
        format!("{seconds:>4} s")
    } else {
        format!("{:>4.1} s", length.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_line_is_valid() {
        ProgressStyle::with_template(LIVE_LINE).unwrap();
    }

    #[test]
    fn names_and_results_are_separated() {
        let check = |name, expect: &str| {
            let line = line(name, "sent", Duration::ZERO);
            assert!(line.starts_with(&format!("{expect}   ")), "{line}");
            assert_eq!(line.len(), 80);
        };
        check("image", " image     sent");
        check("release.json", " release.json sent");
    }

    #[test]
    fn durations_are_human_readable() {
        let check = |millis, expect: &str| assert_eq!(duration(Duration::from_millis(millis)), expect);
        check(0, " 0.0 s");
        check(1_240, " 1.2 s");
        check(41_000, "  41 s");
        check(192_000, "3 min 12 s");
    }
}
