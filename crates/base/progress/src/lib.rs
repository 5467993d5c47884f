//! The lines that long work shows: one a step, with what it found and how long it took.
//!
//! Everything goes to stderr, so that stdout stays for results. On a terminal a running step is a
//! live line; elsewhere its end is printed, and what it does while it takes long. It must never decide anything: work that
//! runs quietly runs the same.

mod notice;

use std::io::{self, Write as _};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use notice::Notices;

/// Columns that a step's name takes, or more where it is longer.
const NAME_WIDTH: usize = 9;
/// Columns of a step's name and result.
const TEXT_WIDTH: usize = 72;
const TICK: Duration = Duration::from_millis(120);
/// Without a terminal, a running step prints a line after this time, and then one in each interval.
const SILENCE: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(30);

/// The terminal's live lines: of steps that run beside each other each has its own.
static LIVE: LazyLock<MultiProgress> =
    LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

/// Where steps are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A live line on a terminal, one line a finished step elsewhere.
    Shown,
    /// Nothing.
    Quiet,
}

impl Progress {
    /// Starts the step called `name`; it ends with [`Step::done`] or, unsuccessfully, when dropped.
    #[must_use]
    pub fn step(self, name: &str) -> Step {
        let bar = match self {
            Self::Shown => LIVE.add(ProgressBar::no_length()),
            Self::Quiet => ProgressBar::hidden(),
        };
        // invariant: the template is a literal that indicatif accepts, as `live_line_is_valid` shows.
        bar.set_style(
            ProgressStyle::with_template(LIVE_LINE).unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.set_prefix(format!("{name:<NAME_WIDTH$} "));
        bar.enable_steady_tick(TICK);
        let (step, started) = (name.to_owned(), Instant::now());
        let notices = (self == Self::Shown && bar.is_hidden()).then(|| {
            Notices::start(SILENCE, INTERVAL, move |detail| {
                // Where standard error is closed, the work continues without notices.
                drop(writeln!(io::stderr(), "{}", line(&step, &format!("... {detail}"), started.elapsed())));
            })
        });
        Step { name: name.to_owned(), shown: self, started, bar, notices }
    }

    /// A remark that stands above the running steps.
    pub fn note(self, text: &str) {
        if self == Self::Shown {
            LIVE.suspend(|| eprintln!(" {text}"));
        }
    }
}

const LIVE_LINE: &str = " {prefix}{wide_msg} {elapsed:>6} {spinner}";

/// One running step.
#[derive(Debug)]
pub struct Step {
    name: String,
    shown: Progress,
    started: Instant,
    bar: ProgressBar,
    /// Where there is no terminal.
    notices: Option<Notices>,
}

impl Step {
    /// What the step does now, in place of what was set before.
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
        if self.shown == Progress::Shown {
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

/// A finished step's.
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
    fn names_and_results_stand_apart() {
        let check = |name, expect: &str| {
            let line = line(name, "sent", Duration::ZERO);
            assert!(line.starts_with(&format!("{expect}   ")), "{line}");
            assert_eq!(line.len(), 80);
        };
        check("image", " image     sent");
        check("release.json", " release.json sent");
    }

    #[test]
    fn durations_read_as_a_person_says_them() {
        let check = |millis, expect: &str| assert_eq!(duration(Duration::from_millis(millis)), expect);
        check(0, " 0.0 s");
        check(1_240, " 1.2 s");
        check(41_000, "  41 s");
        check(192_000, "3 min 12 s");
    }
}
