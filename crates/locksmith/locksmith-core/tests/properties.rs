//! Invariants of semaphores and windows.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use locksmith_core::{Acquire, LockError, Semaphore, Window};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Operation {
    Lock(u8),
    Acquire(u8),
    Unlock(u8),
    SetMax(i64),
    /// Encodes and decodes it.
    Store,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..12_u8).prop_map(Operation::Lock),
        2 => (0..12_u8).prop_map(Operation::Acquire),
        4 => (0..12_u8).prop_map(Operation::Unlock),
        2 => (-2..6_i64).prop_map(Operation::SetMax),
        1 => Just(Operation::Store),
    ]
}

/// Names that sort differently from their numbers.
fn name(number: u8) -> String {
    format!("{:x}-{number}", number.wrapping_mul(37))
}

proptest! {
    #[test]
    fn available_is_the_maximum_minus_the_holders(all in prop::collection::vec(operation(), 0..200)) {
        let mut semaphore = Semaphore::default();
        let mut holders = BTreeSet::new();
        let mut max = 1;
        for operation in all {
            let available = max - holders.len() as i64;
            match operation {
                Operation::Lock(id) => {
                    let result = semaphore.lock(&name(id));
                    let expect = if available <= 0 {
                        Err(LockError::Taken(available))
                    } else if holders.insert(name(id)) {
                        Ok(())
                    } else {
                        Err(LockError::HolderExists)
                    };
                    prop_assert_eq!(result, expect);
                }
                Operation::Acquire(id) => {
                    let result = semaphore.acquire(&name(id));
                    let expect = if holders.contains(&name(id)) {
                        Ok(Acquire::Held)
                    } else if available <= 0 {
                        Err(LockError::Taken(available))
                    } else {
                        holders.insert(name(id));
                        Ok(Acquire::New)
                    };
                    prop_assert_eq!(result, expect);
                }
                Operation::Unlock(id) => {
                    let expect = if holders.remove(&name(id)) { Ok(()) } else { Err(LockError::NoSuchHolder) };
                    prop_assert_eq!(semaphore.unlock(&name(id)), expect);
                }
                Operation::SetMax(to) => {
                    let result = semaphore.set_max(to);
                    if to < 0 {
                        prop_assert_eq!(result, Err(LockError::NegativeMaximum));
                    } else {
                        prop_assert_eq!(result, Ok(max));
                        max = to;
                    }
                }
                Operation::Store => semaphore = Semaphore::decode(&semaphore.encode()).unwrap(),
            }
            prop_assert_eq!(semaphore.available(), semaphore.max() - semaphore.holders().len() as i64);
            prop_assert_eq!(semaphore.max(), max);
            // Sorted and without duplicates.
            prop_assert!(semaphore.holders().iter().eq(holders.iter()));
        }
    }

    /// In a zone with clock changes, between two openings.
    #[test]
    fn window_is_open_for_its_length(
        day in prop::option::of(0..7_usize),
        hour in 0..24,
        minute in 0..60,
        minutes in 0..1439_u64,
        second in 0..2 * 366 * 86_400_i64,
    ) {
        let days = ["Sun ", "Mon ", "Tue ", "Wed ", "Thu ", "Fri ", "Sat "];
        let start = format!("{}{hour}:{minute}", day.map_or("", |day| days[day]));
        let window = Window::parse(&start, &format!("{minutes}m")).unwrap();
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now = Timestamp::from_second(1_767_225_600 + second).unwrap().to_zoned(zone);
        let next = window.next(&now).unwrap();
        prop_assert!(next.start > now);
        prop_assert!(window.is_open(&next.start) && window.is_open(&next.end));
        prop_assert_eq!(next.end.duration_since(&next.start).unsigned_abs(), Duration::from_secs(minutes * 60));
        let period = if day.is_some() { 7 * 24 } else { 24 };
        let wait = next.start.duration_since(&now).as_hours();
        prop_assert!(wait <= period, "{wait} hours");
        // Open now only if the previous opening is no longer ago than its length.
        let earlier = now.checked_sub(jiff::SignedDuration::from_secs(minutes as i64 * 60 + 1)).unwrap();
        let previous = window.next(&earlier).unwrap();
        prop_assert_eq!(window.is_open(&now), previous.start <= now);
    }

    #[test]
    fn any_text_is_parsed_or_rejected(start in ".{0,20}", length in ".{0,20}", value in ".{0,60}") {
        if let Ok(window) = Window::parse(&start, &length) {
            let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
            prop_assert!(window.next(&now).is_some());
        }
        if let Ok(semaphore) = Semaphore::decode(&value) {
            prop_assert_eq!(Semaphore::decode(&semaphore.encode()).unwrap(), semaphore);
        }
    }
}
