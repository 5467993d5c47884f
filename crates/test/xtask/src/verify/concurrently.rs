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
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let slow_first = |milliseconds: &u64| {
            thread::sleep(Duration::from_millis(*milliseconds));
            Ok(*milliseconds)
        };
        assert_eq!(map(2, &[30, 0, 10], slow_first).unwrap(), [30, 0, 10]);
    }

    #[test]
    fn items_are_worked_on_at_the_same_time() {
        let both = Barrier::new(2);
        assert_eq!(map(2, &[(), ()], |()| Ok(both.wait())).unwrap().len(), 2);
    }

    #[test]
    fn an_error_is_not_lost() {
        let odd = |number: &u32| if number % 2 == 1 { Ok(*number) } else { bail!("{number} is even") };
        assert_eq!(map(2, &[1, 3, 4], odd).unwrap_err().to_string(), "4 is even");
    }
}
