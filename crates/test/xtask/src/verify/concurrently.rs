//! Work on several items at a time, on threads.

use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Result, bail};

/// Applies `work` to each item on this many threads; the results are in the order of the items. The first error, after
/// all threads have ended.
pub fn map<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let queue = Mutex::new(items.iter().enumerate());
    let take = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work_off = || -> Result<Vec<(usize, T)>> {
        std::iter::from_fn(take).map(|(number, item)| Ok((number, work(item)?))).collect()
    };
    let of_threads = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work_off)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|done| done.unwrap_or_else(|_| bail!("a thread panicked"))).collect::<Result<Vec<_>>>()
    })?;
    let mut results: Vec<(usize, T)> = of_threads.into_iter().flatten().collect();
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Of a failing test.
    const LIMIT: Duration = Duration::from_secs(60);

    /// The first item ends only after another one has.
    #[test]
    fn items_run_at_the_same_time_and_results_keep_their_order() {
        let (ended, end) = mpsc::channel();
        let (ended, end) = (Mutex::new(ended), Mutex::new(end));
        let work = |number: &u32| {
            match number {
                0 => end.lock().unwrap().recv_timeout(LIMIT)?,
                _ => ended.lock().unwrap().send(())?,
            }
            Ok(*number)
        };
        assert_eq!(map(2, &[0, 1, 2], work).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn an_error_is_not_lost() {
        let odd = |number: &u32| if number % 2 == 1 { Ok(*number) } else { bail!("{number} is even") };
        assert_eq!(map(2, &[1, 3, 4], odd).unwrap_err().to_string(), "4 is even");
    }
}
