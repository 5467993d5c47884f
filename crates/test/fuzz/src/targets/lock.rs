//! The reboot lock's value in etcd, which any client can write, and reboot windows.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use locksmith_core::{LockError, LockMetadata, Semaphore, Window};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "lock",
    about: "a semaphore or a window is refused, or it keeps its numbers and opens when it says",
    run,
    seeds,
};

/// Central Europe's time zone, with daylight saving time.
const ZONE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    semaphore(&text);
    if let Ok(metadata) = LockMetadata::decode(&text) {
        assert_eq!(LockMetadata::decode(&metadata.encode()).unwrap(), metadata);
    }
    // START, LENGTH and seconds since 1970, each on a separate line.
    let mut lines = text.splitn(3, '\n');
    let (start, length) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let second = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
    if let (Ok(window), Ok(now)) = (Window::parse(start, length), Timestamp::from_second(second)) {
        opens(&window, now);
    }
}

/// Available plus held slots are constant, and stored values round-trip.
fn semaphore(text: &str) {
    let Ok(mut semaphore) = Semaphore::decode(text) else { return };
    assert!(semaphore.holders().is_sorted());
    let stored = semaphore.encode();
    assert!(stored.starts_with("{\"semaphore\":") && !stored.contains('\n'), "{stored}");
    assert_eq!(Semaphore::decode(&stored).unwrap(), semaphore);
    let sum =
        |one: &Semaphore| i128::from(one.available()) + one.holders().len() as i128 - i128::from(one.max());
    let before = sum(&semaphore);
    let first = semaphore.holders().first().cloned().unwrap_or_default();
    for id in ["", "m", first.as_str()] {
        let held = semaphore.is_held_by(id);
        match semaphore.lock(id) {
            Ok(()) => assert!(!held && semaphore.is_held_by(id)),
            Err(LockError::HolderExists) => assert!(held),
            Err(LockError::Taken(left)) => assert!(left <= 0),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(sum(&semaphore), before);
        let held = semaphore.is_held_by(id);
        match semaphore.unlock(id) {
            Ok(()) => assert!(held),
            Err(LockError::NoSuchHolder) => assert!(!held),
            Err(LockError::Range) => assert_eq!(semaphore.available(), i64::MAX),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(sum(&semaphore), before);
    }
    for max in [0, 3, -1, i64::MAX] {
        if semaphore.set_max(max).is_ok() {
            assert!(max >= 0 && semaphore.max() == max);
        }
        assert_eq!(sum(&semaphore), before);
    }
}

fn opens(window: &Window, now: Timestamp) {
    let Ok(zone) = TimeZone::posix(ZONE) else { return };
    let now = now.to_zoned(zone);
    // `None` only at the end of the time range.
    let Some(next) = window.next(&now) else {
        return assert!(now.year() >= 9998, "{window} after {now}");
    };
    assert!(next.start > now && next.end >= next.start, "{window}: {next:?}");
    assert!(window.is_open(&next.start) && window.is_open(&next.end), "{window}: {next:?}");
    // Nine days: a week, and the margin of clock and zone changes.
    assert!(next.start.duration_since(&now).as_hours() <= 9 * 24, "{window}: {next:?}");
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "{\"semaphore\":1,\"max\":1,\"holders\":null}",
        "{\"semaphore\":-1,\"max\":1,\"holders\":[\"b\",\"a\"]}",
        "{\"semaphore\":9223372036854775807,\"max\":-9223372036854775808,\"holders\":[\"m\",\"m\"]}",
        "{\"m\":{\"since\":\"2026-11-21T15:00:00Z\",\"bootID\":\"b\",\"version\":\"1.0.0\",\"reason\":\"update\"}}",
        "Thu 4:30\n1h30m\n1774751400",
        "02:30\n23h59m59s\n1792888200",
        "sat 0:0\n0\n253402207199",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
