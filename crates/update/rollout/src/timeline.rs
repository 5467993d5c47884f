//! How many machines of a group ran which version, and were where, over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::POINTS;

/// Points closer than this replace one another, in seconds.
const CLOSEST: u64 = 10;
/// Points older than the first are thinned to one in the second, both in seconds.
const THINNED: [(u64, u64); 2] = [(24 * 3600, 3600), (3600, 300)];
const KEPT: u64 = 30 * 24 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since 1970.
    pub at: u64,
    pub versions: BTreeMap<String, usize>,
    /// By [`crate::Status::word`].
    pub statuses: BTreeMap<String, usize>,
}

/// In order of time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timeline(Vec<Point>);

impl Timeline {
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// Takes in how things are; whether that changed anything.
    pub(crate) fn record(&mut self, point: Point) -> bool {
        let count = self.0.len();
        if let Some(last) = self.0.last_mut() {
            if last.versions == point.versions && last.statuses == point.statuses {
                return false;
            }
            // A clock that was set back moves what came later.
            if point.at < last.at + CLOSEST && count > 1 {
                *last = Point { at: last.at.min(point.at), ..point };
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
            let apart = THINNED.iter().find(|(older, _)| age > *older).map_or(0, |(_, apart)| *apart);
            let keeps =
                age <= KEPT && last_kept.is_none_or(|last: u64| point.at.saturating_sub(last) >= apart);
            if keeps {
                last_kept = Some(point.at);
            }
            keeps
        });
        // Whatever happened in the last hour.
        if self.0.len() > POINTS {
            self.0.drain(..self.0.len() - POINTS / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: u64, count: usize) -> Point {
        Point { at, versions: BTreeMap::from([("1.0.0".to_owned(), count)]), statuses: BTreeMap::new() }
    }

    #[test]
    fn what_did_not_change_makes_no_point_and_the_past_is_thinned() {
        let mut line = Timeline::default();
        assert!(line.record(point(100, 1)) && !line.record(point(200, 1)) && line.record(point(300, 2)));
        assert!(line.record(point(301, 3)));
        assert_eq!(line.points(), [point(100, 1), point(300, 3)]);
        for minute in 10..80 * 24 * 60 {
            line.record(point(minute * 60, minute as usize));
        }
        let points = line.points();
        assert!(points.len() <= POINTS, "{}", points.len());
        assert!(points.windows(2).all(|pair| pair[0].at < pair[1].at));
        let (first, last) = (points[0].at, points[points.len() - 1].at);
        assert!(last - first > 20 * 24 * 3600, "{first} {last}");
    }
}
