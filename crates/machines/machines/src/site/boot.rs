//! Boots a site's nodes and waits until they are ready.

use std::sync::PoisonError;
use std::time::Instant;

use super::boot_progress::BootProgress;
use super::processor_use::ProcessorUse;
use super::stalls::StallDetector;
use super::{Event, NotReady, Site, SiteError, Watcher};
use crate::process::Process;
use crate::ready::{self, Limit, Mark, Ready, ReadyError, WaitOptions};
use crate::{console, limits};

impl Site {
    /// Starts every stopped node and waits until all are ready. On Ctrl-C, powers off the nodes that it started.
    pub fn up(&self, limit: Limit, watch: Watcher<'_>) -> Result<(), SiteError> {
        let names: Vec<String> = self.state().nodes.iter().map(|node| node.name.clone()).collect();
        let mut waits = Vec::new();
        let done =
            self.start_all(&names, &mut waits, watch).and_then(|()| self.wait_all(&waits, limit, watch));
        if matches!(done, Err(SiteError::Interrupted)) {
            for (name, _) in waits.iter().filter(|(_, started)| started.is_some()) {
                self.crash(name)?;
            }
        }
        let runs = self.state().nodes.iter().any(|node| node.process.is_some_and(Process::alive));
        if done.is_err() && !runs {
            self.stop_helpers()?;
        }
        done
    }

    fn start_all(
        &self,
        names: &[String],
        waits: &mut Vec<(String, Option<Instant>)>,
        watch: Watcher<'_>,
    ) -> Result<(), SiteError> {
        // Needed even if all machines run: the helpers may have been killed.
        self.ensure_lan()?;
        self.ensure_discovery()?;
        for name in names {
            let node = self.node(name)?;
            let files = self.layout.node(name);
            if node.process.is_some_and(Process::alive) {
                let (console, ready) = (files.console_log(), files.ready());
                if ready::last(&ready).is_none() {
                    waits.push((name.clone(), None));
                    watch(Event::Booting { node: name.clone(), console, ready, started: false });
                }
                continue;
            }
            self.check_cancelled()?;
            waits.push((name.clone(), Some(Instant::now())));
            self.power_on_node(name, true)?;
            watch(self.booting(name));
        }
        Ok(())
    }

    fn wait_all(
        &self,
        waits: &[(String, Option<Instant>)],
        limit: Limit,
        watch: Watcher<'_>,
    ) -> Result<(), SiteError> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = waits
                .iter()
                .map(|(name, since)| {
                    scope.spawn(move || {
                        let started_at = since.unwrap_or_else(Instant::now);
                        self.wait_ready(name, &Mark::default(), limit)?;
                        watch(Event::Ready { node: name.clone(), after: started_at.elapsed() });
                        Ok(())
                    })
                })
                .collect();
            let mut failed = None;
            for thread in threads {
                let done = thread.join().unwrap_or(Err(SiteError::Interrupted));
                failed = failed.or(done.err());
            }
            failed.map_or(Ok(()), Err)
        })
    }

    /// The default limit of a wait for readiness: the time without progress.
    #[must_use]
    pub fn default_limit(&self) -> Limit {
        Limit::Silence(if self.is_emulated() { limits::SILENCE_EMULATED } else { limits::SILENCE })
    }

    /// When any awaited node last made progress. `now` records progress.
    fn progressed_at(&self, now: bool) -> Instant {
        let mut progressed_at = self.progressed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now {
            *progressed_at = Instant::now();
        }
        *progressed_at
    }

    /// Waits for a readiness report that is newer than `before`.
    pub fn wait_ready(&self, name: &str, before: &Mark, limit: Limit) -> Result<Ready, SiteError> {
        let node = self.node(name)?;
        let process = node.process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        let files = self.layout.node(name);
        let options = WaitOptions { limit, cancel: &self.cancel };
        let mut processor = ProcessorUse::from_now(self.backend.machine_process(&node, process));
        let mut stalls = StallDetector::from_now(&files.console_log());
        let mut progress = BootProgress::from_now(&files.console_log(), &files.ready());
        let mut last_progress = Instant::now();
        let mut poll_progress = || {
            let interval = processor.sample();
            if self.is_emulated()
                && let Some(stall) = interval.and_then(|interval| stalls.check(interval))
            {
                let registers = self.backend.processor_registers(&node);
                let reset = self.backend.reset(&node, process);
                stall.log_reset(&files.process_log(), registers.as_deref(), reset);
                progress.machine_reset();
                return true;
            }
            // Progress of any node counts: an etcd member that waits for its peers makes none.
            let progressed_at = self.progressed_at(progress.advanced(interval));
            let changed = progressed_at > last_progress;
            last_progress = progressed_at;
            changed
        };
        ready::wait(&files.ready(), before, process, options, &mut poll_progress).map_err(|reason| {
            match reason {
                ReadyError::Interrupted => SiteError::Interrupted,
                reason => SiteError::from(Box::new(NotReady {
                    node: name.to_owned(),
                    reason,
                    console_tail: console::tail(&files.console_log(), limits::TAIL_LINES),
                    unit: ready::boot_report(&files.ready())
                        .and_then(|boot_report| boot_report.unit().map(str::to_owned))
                        .or_else(|| console::pending_job(&files.console_log())),
                    diagnosis: self.backend.diagnose(&node),
                    console: files.console_log(),
                })),
            }
        })
    }
}
