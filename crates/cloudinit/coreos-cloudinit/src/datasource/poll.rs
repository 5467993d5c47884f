//! Waits for the first available source (contract 5.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::error::DatasourceError;
use super::retry::RetryPolicy;
use super::source::{Availability, Source};
use super::time_budget::scaled;
use crate::log::Log;

const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// Sources that become available within this time of each other are ranked by flag order.
const TIE_WINDOW: Duration = Duration::from_millis(200);

/// The selected source.
pub struct Chosen {
    pub source: Source,
    pub found: Found,
}

/// What probing the source has fetched already.
#[derive(Default)]
pub struct Found {
    pub cache: Cache,
    pub user_data: Option<Vec<u8>>,
}

/// The result of probing the source at `index`.
struct ProbeResult {
    index: usize,
    /// `None` if it will never be available.
    found: Option<Found>,
}

/// Probes all sources concurrently, with retries, until one is available.
///
/// # Errors
/// None became available in time, or none ever can, such as a single file that does not exist.
pub fn choose(sources: &[Source], retry: RetryPolicy, log: &Log) -> Result<Chosen, DatasourceError> {
    // A file that appears later is a path unit's job; only among several sources is it waited for.
    if let [only @ Source::File(path)] = sources
        && !path.exists()
    {
        return Err(DatasourceError::NoneNow(only.unavailable_reason()));
    }
    // A drive without files has no configuration; among several sources it is none.
    if let [only @ Source::ConfigDrive(path)] = sources
        && path.exists()
    {
        log.info(format!("Checking availability of {:?}", only.kind()));
        return Ok(Chosen { source: only.clone(), found: Found::default() });
    }
    let (sender, results) = channel();
    let decided = Arc::new(AtomicBool::new(false));
    for (index, source) in sources.iter().cloned().enumerate() {
        let prober =
            Prober { index, source, retry, log: *log, decided: decided.clone(), sender: sender.clone() };
        // Not joined: a source that waits for the network must not delay the run.
        thread::spawn(move || prober.run());
    }
    drop(sender);
    let found = select(&results, sources.len(), Instant::now() + scaled(LIMIT));
    decided.store(true, Ordering::Relaxed);
    match found {
        Some((index, found)) => Ok(Chosen { source: sources[index].clone(), found }),
        None => {
            let reasons: Vec<_> = sources.iter().map(Source::unavailable_reason).collect();
            let reasons = reasons.join(", ");
            Err(match retry {
                RetryPolicy::Once => DatasourceError::NoneNow(reasons),
                RetryPolicy::Retry => DatasourceError::NoneInTime(reasons),
            })
        }
    }
}

fn select(results: &Receiver<ProbeResult>, count: usize, end: Instant) -> Option<(usize, Found)> {
    let mut pending = vec![true; count];
    let mut best: Option<(usize, Found)> = None;
    let mut end = end;
    loop {
        // A source of higher rank may still become available.
        let better = best.as_ref().map_or(count, |(index, _)| *index);
        if !pending[..better].contains(&true) {
            return best;
        }
        let result = match results.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return best,
        };
        pending[result.index] = false;
        if let Some(found) = result.found
            && result.index < better
        {
            if best.is_none() {
                end = end.min(Instant::now() + TIE_WINDOW);
            }
            best = Some((result.index, found));
        }
    }
}

/// Probes one source.
struct Prober {
    index: usize,
    source: Source,
    retry: RetryPolicy,
    log: Log,
    decided: Arc<AtomicBool>,
    sender: Sender<ProbeResult>,
}

impl Prober {
    fn run(&self) {
        let found = self.probe();
        // The receiver is closed once another source is selected.
        self.sender.send(ProbeResult { index: self.index, found }).unwrap_or(());
    }

    fn probe(&self) -> Option<Found> {
        let mut wait = INITIAL_BACKOFF;
        loop {
            self.log.info(format!("Checking availability of {:?}", self.source.kind()));
            // A fresh cache: a source that is not ready may have answered with garbage.
            let cache = Cache::default();
            match self.source.availability(&cache, self.retry, &self.log) {
                Ok(Availability::Available) => return Some(Found { cache, user_data: None }),
                Ok(Availability::Fetched(user_data)) => {
                    return Some(Found { cache, user_data: Some(user_data) });
                }
                Ok(Availability::NotYet) => {}
                Ok(Availability::Never) => return None,
                Err(error) => {
                    self.log.error(service::error::chain(&error));
                    return None;
                }
            }
            if self.retry == RetryPolicy::Once || self.decided.load(Ordering::Relaxed) {
                return None;
            }
            thread::sleep(scaled(wait));
            wait = (wait * 2).min(MAX_BACKOFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(list: &[(usize, bool)]) -> Receiver<ProbeResult> {
        let (sender, receiver) = channel();
        for (index, found) in list {
            let found = found.then(Found::default);
            sender.send(ProbeResult { index: *index, found }).unwrap();
        }
        // Keeps the channel open, as a source that is still being probed does.
        std::mem::forget(sender);
        receiver
    }

    #[test]
    fn first_available_wins_and_flag_order_breaks_ties() {
        let later = || Instant::now() + Duration::from_secs(60);
        let index =
            |list: &[(usize, bool)], count| select(&results(list), count, later()).map(|(index, _)| index);
        assert_eq!(index(&[(0, true)], 3), Some(0));
        assert_eq!(index(&[(2, true), (1, true), (0, true)], 3), Some(0));
        assert_eq!(index(&[(2, true)], 3), Some(2));
        assert_eq!(index(&[(1, false), (0, false)], 2), None);
        assert_eq!(index(&[(0, false), (1, true)], 2), Some(1));
        assert!(select(&results(&[]), 1, Instant::now()).is_none());
    }
}
