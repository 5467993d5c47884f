//! What a run will include, as text.

use std::collections::BTreeSet;

use anyhow::Result;

use super::super::parts::Kind;
use super::super::plan::{self, Size};
use super::super::rotation::{SLICES, slice};
use super::super::touched::Touched;
use super::Run;

impl Run<'_> {
    /// One line for each step or part that would run, with its recorded seconds, and the sum. Of a CI run also the parts
    /// without time.
    pub fn plan_text(&self) -> Result<String> {
        let mut rows: Vec<String> = Vec::new();
        for (step, parts) in self.chosen.iter().zip(self.parts()?) {
            let has_parts = !parts.is_empty();
            let names = if has_parts { self.select(step.name)?.names } else { Vec::new() };
            rows.extend(names.iter().map(|name| format!("{}/{name}", step.name)));
            // Compile time and other time that belongs to no part.
            let compile = format!("{}: compile", step.name);
            rows.extend((!has_parts).then(|| step.name.to_owned()));
            rows.extend(self.costs.contains_key(&compile).then_some(compile));
        }
        let seconds = |row: &String| self.costs.get(row).copied();
        let line = |row: &String| match seconds(row) {
            Some(seconds) => format!("{seconds:>9.0} s  {row}\n"),
            None => format!("{:>11}  {row}\n", "?"),
        };
        let minutes = rows.iter().filter_map(seconds).sum::<f64>() / 60.0;
        let mut plan_text: String = rows.iter().map(line).collect();
        plan_text += &format!("{minutes:>7.0} min  one after the other\n");
        if self.size == Size::Ci && !self.is_named() {
            let slices = self.slices()?;
            let least = slices.iter().copied().fold(f64::MAX, f64::min);
            let most = slices.iter().copied().fold(0.0, f64::max);
            let all: f64 = slices.iter().sum();
            plan_text += &format!(
                "{:>7.0} min  a slice of the rotation, {least:.0} to {most:.0}\n",
                all / slices.len() as f64
            );
            let no_time = self.ci_plan()?.left_out;
            plan_text.extend(no_time.iter().map(|part| format!("    no time  {part}\n")));
        }
        Ok(plan_text)
    }

    /// Recorded minutes of each slice of the rotation.
    fn slices(&self) -> Result<Vec<f64>> {
        let mut rotating: Vec<String> = Vec::new();
        for parts in self.parts()? {
            let parts = parts.iter().filter(|part| part.kind != Kind::Always);
            rotating.extend(parts.map(|part| part.id.clone()));
        }
        let cost = |id: &str| plan::cost(&self.costs, id);
        let minutes = |number| slice(&rotating, cost, number).iter().map(|id| cost(id)).sum::<f64>() / 60.0;
        Ok((0..SLICES).map(minutes).collect())
    }

    pub(super) fn announce(&self, optional: &BTreeSet<String>, left_out: usize, touched: &Touched) {
        match touched {
            Touched::Everything(why) => eprintln!("touched: everything ({why})"),
            Touched::Some { files, packages } => {
                eprintln!("touched: {} files, {} packages", files.len(), packages.len());
            }
        }
        eprintln!(
            "plan: besides what every run does, {} parts (slice {} of {}), {:.0} min by the record; {left_out} left out; \
             this host takes {:.2} times as long as recorded",
            optional.len(),
            self.number % SLICES + 1,
            SLICES,
            plan::expected(optional, &self.costs) / 60.0,
            self.slowdown.get(),
        );
    }
}
