//! Versions and statuses of a group's machines over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::POINTS;

/// Seconds. Points closer than this are merged.
const MIN_INTERVAL: u64 = 10;
/// Seconds: points older than the first value are thinned to one per second value.
const THINNING: [(u64, u64); 2] = [(24 * 3600, 3600), (3600, 300)];
const RETENTION: u64 = 30 * 24 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TimelinePoint {
    /// Unix time in seconds.
    pub at: u64,
    /// Machines by version, as in [`crate::Counts::common_versions`].
    pub versions: BTreeMap<String, usize>,
    /// Keyed by [`crate::Status::as_str`].
    pub statuses: BTreeMap<String, usize>,
}

/// Ordered by time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeline(Vec<TimelinePoint>);

impl Timeline {
    /// Adds a point. Returns false if nothing changed since the last one.
    pub(crate) fn record(&mut self, point: TimelinePoint) -> bool {
        let count = self.0.len();
        if let Some(last) = self.0.last_mut() {
            if last.versions == point.versions && last.statuses == point.statuses {
                return false;
            }
            // After the clock was set back, later points are merged.
            if point.at < last.at + MIN_INTERVAL && count > 1 {
                *last = TimelinePoint { at: last.at.min(point.at), ..point };
                return true;
            }
        }
        let now = point.at;
        self.0.push(point);
        if self.0.len() > POINTS {
            self.thin(now);
        }
        true
    }

    fn thin(&mut self, now: u64) {
        let mut last_kept = None;
        self.0.retain(|point| {
            let age = now.saturating_sub(point.at);
            let interval =
                THINNING.iter().find(|(older, _)| age > *older).map_or(0, |(_, interval)| *interval);
            let is_kept = age <= RETENTION
                && last_kept.is_none_or(|last: u64| point.at.saturating_sub(last) >= interval);
            if is_kept {
                last_kept = Some(point.at);
            }
            is_kept
        });
        // More than that changed within the last hour.
        if self.0.len() > POINTS {
            self.0.drain(..self.0.len() - POINTS / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64, count: usize) -> TimelinePoint {
        TimelinePoint {
            at,
            versions: BTreeMap::from([("1.0.0".to_owned(), count)]),
            statuses: BTreeMap::new(),
        }
    }

    #[test]
    fn unchanged_points_are_merged_and_old_ones_thinned() {
        let mut line = Timeline::default();
        assert!(line.record(point(100, 1)) && !line.record(point(200, 1)) && line.record(point(300, 2)));
        assert!(line.record(point(301, 3)));
        assert_eq!(line.0, [point(100, 1), point(300, 3)]);
        for minute in 10..80 * 24 * 60 {
            line.record(point(minute * 60, minute as usize));
        }
        let points = &line.0;
        assert!(points.len() <= POINTS, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        let (first, last) = (points[0].at, points[points.len() - 1].at);
        assert!(last - first > 20 * 24 * 3600, "{first} {last}");
    }
}
