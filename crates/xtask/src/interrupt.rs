//! Ctrl-C and SIGTERM: the running child ends, the steps after it do not start, the summary is still said.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

static SEEN: AtomicBool = AtomicBool::new(false);
/// Process id of the child that runs now; 0 when there is none.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// Starts to watch for both signals; called once, before the first child.
pub fn watch() -> anyhow::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("can not watch for signals")?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            SEEN.store(true, Ordering::SeqCst);
            let child = CHILD.load(Ordering::SeqCst);
            // The terminal sends SIGINT to the child too; SIGTERM comes to this process alone.
            if signal == SIGTERM
                && child > 0
                && let Err(error) = kill(Pid::from_raw(child), Signal::SIGTERM)
            {
                eprintln!("can not end process {child}: {error}");
            }
        }
    });
    Ok(())
}

pub fn seen() -> bool {
    SEEN.load(Ordering::SeqCst)
}

pub fn child_started(id: u32) {
    CHILD.store(i32::try_from(id).unwrap_or(0), Ordering::SeqCst);
}

pub fn child_ended() {
    CHILD.store(0, Ordering::SeqCst);
}
