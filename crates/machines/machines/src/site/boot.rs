//! Booting a site's nodes, and waiting until they are ready.

use std::sync::PoisonError;
use std::time::Instant;

use super::movement::Movement;
use super::stalls::Stalls;
use super::{Event, NotReady, Site, SiteError, Watcher};
use crate::process::Process;
use crate::ready::{self, Limit, Mark, Patience, Ready, ReadyError};
use crate::{console, limits};

impl Site {
    /// Starts every node that is stopped and waits until all are ready. On Ctrl-C what was started here
    /// is switched off again.
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
        // Even if all machines run: the helpers may have been killed.
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
            self.switch_on(name, true)?;
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
                        let begun = since.unwrap_or_else(Instant::now);
                        self.wait_ready(name, &Mark::default(), limit)?;
                        watch(Event::Ready { node: name.clone(), after: begun.elapsed() });
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

    /// How long nodes are waited for where nobody said how long: while something changes on them.
    #[must_use]
    pub fn patience(&self) -> Limit {
        Limit::Silence(if self.is_emulated() { limits::SILENCE_EMULATED } else { limits::SILENCE })
    }

    /// When something last changed on any node that is waited for; now, where it was just seen.
    fn moved(&self, now: bool) -> Instant {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if now {
            *moved = Instant::now();
        }
        *moved
    }

    /// Waits for a readiness line that is newer than `before`.
    pub fn wait_ready(&self, name: &str, before: &Mark, limit: Limit) -> Result<Ready, SiteError> {
        let node = self.node(name)?;
        let process = node.process.ok_or_else(|| SiteError::Stopped(name.to_owned()))?;
        let files = self.layout.node(name);
        let patience = Patience { limit, cancel: &self.cancel };
        let mut stalls = Stalls::from_now(&files.console_log());
        let mut movement = Movement::from_now(&files.console_log(), &files.ready(), process);
        let mut seen = Instant::now();
        let mut look = || {
            if self.is_emulated()
                && let Some(stall) = stalls.another()
            {
                let processors = self.backend.processors(&node);
                let reset = self.backend.reset(&node, process);
                stall.note(&files.process_log(), processors.as_deref(), reset);
                movement.begins_again();
                return true;
            }
            // A member of a store waits for the others, and changes nothing meanwhile.
            let of_all = self.moved(movement.has_moved());
            let changed = of_all > seen;
            seen = of_all;
            changed
        };
        ready::wait(&files.ready(), before, process, patience, &mut look).map_err(|why| match why {
            ReadyError::Interrupted => SiteError::Interrupted,
            why => SiteError::from(Box::new(NotReady {
                node: name.to_owned(),
                why,
                shown: console::tail(&files.console_log(), limits::TAIL_LINES),
                unit: ready::starting(&files.ready())
                    .and_then(|starting| starting.unit().map(str::to_owned))
                    .or_else(|| console::waited_for(&files.console_log())),
                remark: self.backend.remark(&node),
                console: files.console_log(),
            })),
        })
    }
}
