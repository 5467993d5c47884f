//! Waits for the first source that is there (contract 5.1).

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{DatasourceError, Source};
use crate::log::Log;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Whether a source that is not there yet is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A machine that boots: the source may come.
    Wait,
    /// A person who checks a file: it is there now or the name is wrong.
    AskOnce,
}

/// All sources are asked again and again, in their order, until one is there.
///
/// # Errors
/// None is there in time, or none that is not can ever be.
pub fn choose(sources: &[Source], patience: Patience, log: &Log) -> Result<Source, DatasourceError> {
    let end = Instant::now() + LIMIT;
    let mut wait = FIRST_WAIT;
    let mut asked: Vec<&Source> = sources.iter().collect();
    loop {
        for source in &asked {
            log.info(format!("Checking availability of {:?}", source.kind()));
            if source.is_available() {
                return Ok((*source).clone());
            }
        }
        if patience == Patience::AskOnce {
            let missing: Vec<_> =
                sources.iter().map(|source| format!("{} is not there", source.place())).collect();
            return Err(DatasourceError::NoneNow(missing.join(", ")));
        }
        asked.retain(|source| source.can_change());
        let left = end.saturating_duration_since(Instant::now());
        if asked.is_empty() || left.is_zero() {
            return Err(DatasourceError::NoneInTime);
        }
        sleep(wait.min(left));
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
