//! Figures of two sides, and the table rows that they form.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Side {
    Reference,
    Ours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Better {
    Higher,
    Lower,
}

/// Target of our side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Target {
    /// A multiple of the reference's value in the same run.
    OfReference(f64),
    /// An absolute value in the figure's unit.
    Itself(f64),
    /// Explains other figures.
    None,
}

/// Measurements of both sides, one value per run.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub what: String,
    pub unit: &'static str,
    pub better: Better,
    pub target: Target,
    pub reference: Vec<f64>,
    pub ours: Vec<f64>,
}

impl Figure {
    pub fn new(what: &str, unit: &'static str, better: Better, target: Target) -> Self {
        Self { what: what.into(), unit, better, target, reference: Vec::new(), ours: Vec::new() }
    }

    /// `None` until both sides are measured.
    pub fn ratio(&self) -> Option<f64> {
        Some(median(&self.ours)? / median(&self.reference)?)
    }

    /// `None` without a target, or if a side is not measured.
    pub fn reached(&self) -> Option<bool> {
        let (found, target) = match self.target {
            Target::OfReference(target) => (self.ratio()?, target),
            Target::Itself(target) => (median(&self.ours)?, target),
            Target::None => return None,
        };
        Some(if self.better == Better::Higher { found >= target } else { found <= target })
    }

    fn row(&self, command: &str) -> String {
        let sign = if self.better == Better::Higher { ">=" } else { "<=" };
        let target = match self.target {
            Target::OfReference(target) => format!("{sign} {target} x etcd"),
            Target::Itself(target) => format!("{sign} {target} {}", self.unit),
            Target::None => String::new(),
        };
        let all = |values: &[f64]| values.iter().map(|value| digits(*value)).collect::<Vec<_>>().join(", ");
        let one = |values: &[f64]| median(values).map_or("-".into(), digits);
        let ratio = self.ratio().map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let missed = if self.reached() == Some(false) { ", missed" } else { "" };
        format!(
            "| {} | {target} | {ratio} x{missed}: {} against {} {} ({}; {}) | `{command}` | | |\n",
            self.what,
            one(&self.ours),
            one(&self.reference),
            self.unit,
            all(&self.ours),
            all(&self.reference),
        )
    }
}

/// Formats rows for `docs/benchmarks.md`.
pub fn table(figures: &[Figure], command: &str) -> String {
    let head = "| what | target | measured | command | date | machine |\n|---|---|---|---|---|---|\n";
    figures.iter().fold(head.to_owned(), |text, figure| text + &figure.row(command))
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn digits(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_make_the_ratio_and_the_verdict() {
        let mut figure = Figure::new("puts", "a second", Better::Higher, Target::OfReference(2.0));
        assert_eq!(figure.reached(), None);
        figure.reference = vec![100.0, 900.0, 90.0];
        figure.ours = vec![150.0, 199.0, 250.0];
        assert_eq!((figure.ratio(), figure.reached()), (Some(1.99), Some(false)));
        let row = table(&[figure], "c");
        assert!(row.ends_with("| puts | >= 2 x etcd | 1.99 x, missed: 199 against 100 a second (150, 199, 250; 100, 900, 90.000) | `c` | | |\n"), "{row}");
    }
}
