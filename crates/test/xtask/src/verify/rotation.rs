//! The rotating slice: which long parts a CI run includes besides those that its change touches.
//!
//! Parts are distributed over the slices by cost, so that all slices take about the same time; run number N takes
//! slice N modulo their number. Each part therefore runs once in every [`SLICES`] consecutive runs.

use std::collections::BTreeSet;

/// Number of consecutive CI runs in which every long part runs once.
pub const SLICES: u64 = 10;

/// The parts of slice `number`; `cost` gives seconds. Deterministic: depends on names and costs only.
pub fn slice(parts: &[String], cost: impl Fn(&str) -> f64, number: u64) -> BTreeSet<String> {
    let mut sorted: Vec<(&String, f64)> = parts.iter().map(|part| (part, cost(part))).collect();
    sorted.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    let mut slices: Vec<(f64, BTreeSet<String>)> = (0..SLICES).map(|_| (0.0, BTreeSet::new())).collect();
    for (part, seconds) in sorted {
        let lightest = slices.iter_mut().min_by(|one, other| one.0.total_cmp(&other.0));
        if let Some(lightest) = lightest {
            lightest.0 += seconds;
            lightest.1.insert(part.clone());
        }
    }
    let index = usize::try_from(number % SLICES).unwrap_or(0);
    slices.swap_remove(index).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_runs_in_a_row_take_every_part_once() {
        let parts: Vec<String> = (0..57).map(|number| format!("scenarios-qemu/{number}")).collect();
        let cost = |part: &str| if part.ends_with('7') { 900.0 } else { 100.0 };
        for first in [0, 3, 9, 41] {
            let mut taken: Vec<String> =
                (first..first + SLICES).flat_map(|run| slice(&parts, cost, run)).collect();
            taken.sort();
            let mut all = parts.clone();
            all.sort();
            assert_eq!(taken, all);
        }
    }

    #[test]
    fn slices_take_about_the_same_time() {
        let parts: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let cost = |part: &str| part.parse::<f64>().unwrap() * 10.0;
        let times =
            (0..SLICES).map(|run| slice(&parts, cost, run).iter().map(|part| cost(part)).sum::<f64>());
        let (mut least, mut most) = (f64::MAX, 0.0_f64);
        for time in times {
            (least, most) = (least.min(time), most.max(time));
        }
        assert!(most < least * 1.2, "{least} {most}");
    }
}
