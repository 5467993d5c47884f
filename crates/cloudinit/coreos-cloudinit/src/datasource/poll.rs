//! Waits for the first source that is there (contract 5.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::error::DatasourceError;
use super::memory::Memory;
use super::pace::paced;
use super::patience::Patience;
use super::source::{Availability, Source};
use crate::log::Log;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// Of sources that come within this time of each other, the flags' order decides.
const CLOSE: Duration = Duration::from_millis(200);

/// A source that is there.
pub struct Chosen {
    pub source: Source,
    pub found: Found,
}

/// What was told to know that it is there.
#[derive(Default)]
pub struct Found {
    pub memory: Memory,
    pub user_data: Option<Vec<u8>>,
}

/// What became of the source at `place` in the list.
struct Report {
    place: usize,
    /// `None` if it will never be there.
    found: Option<Found>,
}

/// Asks all sources at the same time, each again and again, until one is there.
///
/// # Errors
/// None is there in time, or none that is not can ever be, as where the only one is a file that is not there.
pub fn choose(sources: &[Source], patience: Patience, log: &Log) -> Result<Chosen, DatasourceError> {
    // A file that is put there later is what path units are for; among several sources it is waited for.
    if let [only @ Source::File(path)] = sources
        && !path.exists()
    {
        return Err(DatasourceError::NoneNow(only.missing()));
    }
    let (sender, reports) = channel();
    let decided = Arc::new(AtomicBool::new(false));
    for (place, source) in sources.iter().cloned().enumerate() {
        let asker =
            Asker { place, source, patience, log: *log, decided: decided.clone(), sender: sender.clone() };
        // Not joined: one that waits for a network must not hold up the run.
        thread::spawn(move || asker.ask());
    }
    drop(sender);
    let found = first(&reports, sources.len(), Instant::now() + paced(LIMIT));
    decided.store(true, Ordering::Relaxed);
    match found {
        Some((place, found)) => Ok(Chosen { source: sources[place].clone(), found }),
        None if patience == Patience::AskOnce => {
            let missing: Vec<_> = sources.iter().map(Source::missing).collect();
            Err(DatasourceError::NoneNow(missing.join(", ")))
        }
        None => Err(DatasourceError::NoneInTime),
    }
}

fn first(reports: &Receiver<Report>, count: usize, end: Instant) -> Option<(usize, Found)> {
    let mut open = vec![true; count];
    let mut best: Option<(usize, Found)> = None;
    let mut end = end;
    loop {
        // One that stands before the best may still come.
        let rivals = best.as_ref().map_or(count, |(place, _)| *place);
        if !open[..rivals].contains(&true) {
            return best;
        }
        let report = match reports.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return best,
        };
        open[report.place] = false;
        if let Some(found) = report.found
            && report.place < rivals
        {
            if best.is_none() {
                end = end.min(Instant::now() + CLOSE);
            }
            best = Some((report.place, found));
        }
    }
}

/// Asks one source.
struct Asker {
    place: usize,
    source: Source,
    patience: Patience,
    log: Log,
    decided: Arc<AtomicBool>,
    sender: Sender<Report>,
}

impl Asker {
    fn ask(&self) {
        let found = self.found();
        // Nobody listens any more once another source was chosen.
        self.sender.send(Report { place: self.place, found }).unwrap_or(());
    }

    fn found(&self) -> Option<Found> {
        let mut wait = FIRST_WAIT;
        loop {
            self.log.info(format!("Checking availability of {:?}", self.source.kind()));
            // One that is not there yet may have told nonsense.
            let memory = Memory::default();
            match self.source.availability(&memory, self.patience, &self.log) {
                Ok(Availability::There) => return Some(Found { memory, user_data: None }),
                Ok(Availability::Fetched(user_data)) => {
                    return Some(Found { memory, user_data: Some(user_data) });
                }
                Ok(Availability::NotYet) => {}
                Ok(Availability::Never) => return None,
                Err(error) => {
                    self.log.error(service::error::chain(&error));
                    return None;
                }
            }
            if self.patience == Patience::AskOnce || self.decided.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(paced(wait));
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(list: &[(usize, bool)]) -> Receiver<Report> {
        let (sender, receiver) = channel();
        for (place, found) in list {
            let found = found.then(Found::default);
            sender.send(Report { place: *place, found }).unwrap();
        }
        // Kept open, as by a source that is still asked.
        std::mem::forget(sender);
        receiver
    }

    #[test]
    fn the_first_wins_and_order_decides_between_close_ones() {
        let later = || Instant::now() + Duration::from_secs(60);
        let place =
            |list: &[(usize, bool)], count| first(&reports(list), count, later()).map(|(place, _)| place);
        assert_eq!(place(&[(0, true)], 3), Some(0));
        assert_eq!(place(&[(2, true), (1, true), (0, true)], 3), Some(0));
        assert_eq!(place(&[(2, true)], 3), Some(2));
        assert_eq!(place(&[(1, false), (0, false)], 2), None);
        assert_eq!(place(&[(0, false), (1, true)], 2), Some(1));
        assert!(first(&reports(&[]), 1, Instant::now()).is_none());
    }
}
