//! One run of `cargo verify`: its size, named steps, elapsed time, and selected parts.

mod plan_text;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result};

use super::beside::Beside;
use super::parts::{Kind, Part};
use super::plan::{self, Clock, Costs, LIMIT, Named, Plan, Size};
use super::report;
use super::result::{Skip, State, StepResult, Timed};
use super::touched::{self, Touched};
use super::verified::Verified;
use crate::cargo_build::{self, TestProgram};
use crate::workspace::Workspace;

/// Recorded seconds of steps and parts, written by `cargo xtask record`.
pub const COSTS: &str = ".ci/costs.json";
/// Reason of a [`Skip`] that `.ci/may-not-run.toml` refers to.
pub const NO_TIME: &str = "no time left in this run: a later one takes it";

pub struct Step {
    pub name: &'static str,
    pub about: &'static str,
    /// Parts that not every run includes; empty if the whole step always runs.
    pub parts: fn(&Run<'_>) -> Result<Vec<Part>>,
    pub run: fn(&Run<'_>) -> Result<Vec<StepResult>>,
}

pub struct Run<'a> {
    pub workspace: &'a Workspace,
    pub size: Size,
    pub chosen: Vec<&'static Step>,
    /// Whether steps may install packages that the host lacks.
    pub installs: bool,
    /// Whether tests do not run whose inputs have not changed since they passed.
    pub leaves_out_unchanged: bool,
    /// Steps, groups and parts (`STEP/PART`) named on the command line.
    named: &'a [String],
    pub costs: Costs,
    /// Run number, for the rotation and for seeds.
    pub number: u64,
    began: Instant,
    slowdown: Cell<f64>,
    finished: RefCell<BTreeSet<&'static str>>,
    /// Parts of each chosen step: listing them runs cargo.
    parts: OnceCell<Vec<Vec<Part>>>,
    verified: Option<Verified>,
    touched: OnceCell<Touched>,
    /// Number of parts that the last plan left out.
    left_out: Cell<Option<usize>>,
    test_programs: OnceCell<Vec<TestProgram>>,
    /// Steps that run beside those before them.
    pub beside: RefCell<Beside>,
}

#[derive(Debug, thiserror::Error)]
#[error("{step} has no part {unknown}: there are {known}")]
pub struct UnknownPart {
    unknown: String,
    step: String,
    known: String,
}

/// Parts that a step runs, and those that it has to omit.
#[derive(Debug, Default)]
pub struct Selected {
    /// Without the step's name.
    pub names: Vec<String>,
    pub skipped: Vec<Skip>,
}

impl<'a> Run<'a> {
    pub fn new(
        workspace: &'a Workspace,
        size: Size,
        chosen: Vec<&'static Step>,
        named: &'a [String],
    ) -> Result<Self> {
        let number = match touched::run_number(&workspace.root)? {
            Some(number) => number,
            None => of_hash(touched::head(&workspace.root)?.as_deref().unwrap_or_default()),
        };
        Ok(Self {
            workspace,
            size,
            chosen,
            installs: false,
            leaves_out_unchanged: false,
            named,
            costs: costs(workspace)?,
            number,
            began: Instant::now(),
            slowdown: Cell::new(1.0),
            finished: RefCell::default(),
            parts: OnceCell::new(),
            verified: Verified::read(&workspace.root)?,
            touched: OnceCell::new(),
            left_out: Cell::new(None),
            test_programs: OnceCell::new(),
            beside: RefCell::default(),
        })
    }

    /// The compiled tests. Cargo is run once: it looks at all packages for seconds, and waits for [`Self::beside`].
    pub fn test_programs(&self) -> Result<&[TestProgram]> {
        if let Some(known) = self.test_programs.get() {
            return Ok(known);
        }
        let found = cargo_build::test_programs(&self.workspace.root)?;
        Ok(self.test_programs.get_or_init(|| found))
    }

    pub fn is_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// Whether parts of this step are named, but not the step.
    pub fn parts_named(&self, step: &str) -> bool {
        self.named_parts(step).next().is_some()
    }

    fn named_parts(&self, step: &str) -> impl Iterator<Item = &'a str> {
        let of_step = move |name: &&str| name.split_once('/').is_some_and(|(of, _)| of == step);
        self.named.iter().map(String::as_str).filter(of_step)
    }

    /// Checks that every named part exists.
    pub fn check_named_parts(&self) -> Result<(), anyhow::Error> {
        for step in self.chosen.iter().filter(|step| self.parts_named(step.name)) {
            let known: Vec<String> = (step.parts)(self)?.into_iter().map(|part| part.id).collect();
            if let Some(unknown) = self.named_parts(step.name).find(|part| !known.iter().any(|id| id == part))
            {
                let step = step.name.to_owned();
                return Err(UnknownPart { unknown: unknown.to_owned(), step, known: list(&known) }.into());
            }
        }
        Ok(())
    }

    fn named(&self, part: &Part) -> Named {
        match (self.named_parts(part.step()).any(|id| id == part.id), self.parts_named(part.step())) {
            (true, _) => Named::Part,
            (false, true) => Named::Others,
            (false, false) if self.is_named() => Named::Step,
            (false, false) => Named::Nothing,
        }
    }

    /// Records a finished step, and updates the host's speed.
    pub fn finished(&self, step: &'static str, results: &[StepResult]) {
        self.finished.borrow_mut().insert(step);
        self.slowdown.set(report::slowdown(results, &self.costs).max(1.0));
    }

    /// Seconds until no optional part starts any more.
    pub fn seconds_left(&self) -> Option<u64> {
        let left = (LIMIT - self.began.elapsed().as_secs_f64()).max(0.0);
        // invariant: not negative, and far below 2^63.
        (self.size == Size::Ci).then_some(left as u64)
    }

    /// The parts of this step that the run includes.
    pub fn select(&self, step: &str) -> Result<Selected> {
        if self.size == Size::Ci && !self.is_named() {
            return Ok(self.of_plan(&self.ci_plan()?, step));
        }
        let mut parts = Vec::new();
        for found in self.chosen.iter().filter(|chosen| chosen.name == step) {
            parts.extend((found.parts)(self)?);
        }
        Ok(self.of_plan(&plan::of_size(&parts, self.size, |part| self.named(part)), step))
    }

    /// Runs the selected parts of a step sequentially and times each; no result if none is selected.
    pub fn each_part(&self, step: &str, part: impl Fn(&str) -> Result<bool>) -> Result<Vec<StepResult>> {
        let Selected { names, skipped } = self.select(step)?;
        if names.is_empty() && skipped.is_empty() {
            return Ok(Vec::new());
        }
        let mut result = StepResult::new(step, State::Skipped(NO_TIME.to_owned()));
        result.skipped = skipped;
        let mut failed = Vec::new();
        for name in &names {
            if self.seconds_left() == Some(0) {
                result.skipped.push(Skip { part: format!("{step}/{name}"), reason: NO_TIME.to_owned() });
                continue;
            }
            let began = Instant::now();
            if !part(name)? {
                failed.push(name.as_str());
            }
            let seconds = began.elapsed().as_secs_f64();
            result.timed.push(Timed { part: format!("{step}/{name}"), seconds });
        }
        if !failed.is_empty() {
            result.broken = failed.iter().map(|name| format!("{step}/{name}")).collect();
            result.state = State::Failed(failed.join(", "));
        } else if !result.timed.is_empty() {
            result.state = State::Passed(format!("{} parts", result.timed.len()));
        }
        Ok(vec![result])
    }

    fn of_plan(&self, plan: &Plan, step: &str) -> Selected {
        let name_of = |id: &str| id.strip_prefix(step)?.strip_prefix('/').map(str::to_owned);
        let left_out = plan.left_out.iter().filter(|id| name_of(id).is_some());
        Selected {
            names: plan.run.iter().filter_map(|id| name_of(id)).collect(),
            skipped: left_out.map(|id| Skip { part: id.clone(), reason: NO_TIME.to_owned() }).collect(),
        }
    }

    /// Computed anew for each step: what did not fit by the record of the steps before may fit by their actual time.
    fn ci_plan(&self) -> Result<Plan> {
        let finished = self.finished.borrow().clone();
        let slowdown = self.slowdown.get();
        let (parts, to_come) = self.parts_and_needed_seconds(&finished)?;
        let elapsed = self.began.elapsed().as_secs_f64() + to_come * slowdown;
        let (due, clock) = (self.due_parts()?, Clock { elapsed, slowdown });
        let plan = plan::of_ci(&parts, &due, self.number, &self.costs, clock, &finished);
        if self.left_out.replace(Some(plan.left_out.len())) != Some(plan.left_out.len()) {
            let is_optional = |part: &&Part| part.kind != Kind::Always && plan.run.contains(&part.id);
            let optional = parts.iter().filter(is_optional).map(|part| part.id.clone()).collect();
            self.announce(&optional, plan.left_out.len(), self.touched()?);
        }
        Ok(plan)
    }

    /// The parts that the change touches, and those that were outstanding before, in the order in which the plan takes
    /// them.
    fn due_parts(&self) -> Result<Vec<String>> {
        let touched = self.touched()?;
        let outstanding = |part: &Part| {
            self.verified.as_ref().is_some_and(|verified| verified.outstanding.contains(&part.id))
        };
        let optional = self.parts()?.iter().flatten().filter(|part| part.kind != Kind::Always);
        let mut due: Vec<&Part> =
            optional.filter(|part| outstanding(part) || part.is_touched(touched)).collect();
        due.sort_by_key(|part| (plan::is_scenario(&part.id), !outstanding(part)));
        Ok(due.into_iter().map(|part| part.id.clone()).collect())
    }

    /// `.ci/verified` after this run, if it decides about a landing.
    pub fn verified_after(&self, results: &[StepResult]) -> Result<Option<Verified>> {
        if self.size != Size::Ci || self.is_named() {
            return Ok(None);
        }
        let Some(commit) = touched::head(&self.workspace.root)? else { return Ok(None) };
        Ok(Some(Verified::after(commit, &self.due_parts()?, results)))
    }

    /// The parts of all chosen steps, and the recorded seconds of what every run includes of the unfinished ones.
    fn parts_and_needed_seconds(&self, finished: &BTreeSet<&'static str>) -> Result<(Vec<Part>, f64)> {
        let mut parts: Vec<Part> = Vec::new();
        let mut seconds = 0.0;
        for (step, of_step) in self.chosen.iter().zip(self.parts()?) {
            let always = of_step.is_empty() || of_step.iter().any(|part| part.kind == Kind::Always);
            if always && !finished.contains(step.name) {
                let cost = |name: &str| self.costs.get(name).copied().unwrap_or(0.0);
                seconds += cost(step.name) + cost(&format!("{}: compile", step.name));
            }
            parts.extend(of_step.iter().cloned());
        }
        Ok((parts, seconds))
    }

    fn parts(&self) -> Result<&[Vec<Part>]> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let of_step = |step: &Step| (step.parts)(self).with_context(|| format!("parts of {}", step.name));
        let parts = self.chosen.iter().map(|step| of_step(step)).collect::<Result<_>>()?;
        Ok(self.parts.get_or_init(|| parts))
    }

    fn touched(&self) -> Result<&Touched> {
        if let Some(touched) = self.touched.get() {
            return Ok(touched);
        }
        let touched = Touched::of(self.workspace, self.verified.as_ref())?;
        Ok(self.touched.get_or_init(|| touched))
    }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "none, it runs whole".to_owned() } else { known.join(", ") }
}

fn costs(workspace: &Workspace) -> Result<Costs> {
    let path = workspace.root.join(COSTS);
    if !path.exists() {
        return Ok(Costs::new());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{COSTS} is malformed"))
}

/// Derives a run number from a commit id, for clones without sufficient history.
fn of_hash(commit: &str) -> u64 {
    u64::from_str_radix(commit.get(..8).unwrap_or("0"), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::may_not_run::Allowed;
    use super::*;

    #[test]
    fn a_commit_gives_a_number() {
        assert_eq!(of_hash("0000001fabc"), 31);
        assert_eq!(of_hash(""), 0);
    }

    fn parts_of_three(_: &Run<'_>) -> Result<Vec<Part>> {
        Ok(["a", "b", "c"].map(|name| Part::new(format!("three/{name}"), Kind::Long)).into())
    }

    static THREE: Step = Step { name: "three", about: "", parts: parts_of_three, run: |_| Ok(Vec::new()) };

    fn check_each_part(size: Size, began: Option<Instant>, passed: usize, skipped: usize, state: &State) {
        let workspace = Workspace::load(&crate::workspace::root()).unwrap();
        let named = ["three".to_owned()];
        let mut run = Run::new(&workspace, size, vec![&THREE], &named).unwrap();
        run.began = began.unwrap_or(run.began);
        let results = run.each_part("three", |name| Ok(name != "b")).unwrap();
        let [result] = &*results else { panic!("{results:?}") };
        assert_eq!((result.timed.len(), result.skipped.len()), (passed, skipped), "{result:?}");
        assert_eq!(&result.state, state);
    }

    #[test]
    fn each_part_runs_though_one_fails_and_none_starts_after_the_limit() {
        check_each_part(Size::All, None, 3, 0, &State::Failed("b".into()));
        let long_ago = Instant::now().checked_sub(Duration::from_secs_f64(LIMIT + 1.0));
        check_each_part(Size::Ci, long_ago, 0, 3, &State::Skipped(NO_TIME.into()));
    }

    #[test]
    fn a_named_part_runs_alone_and_an_unknown_one_is_refused() {
        let workspace = Workspace::load(&crate::workspace::root()).unwrap();
        let named = ["three/b".to_owned()];
        let run = Run::new(&workspace, Size::Change, vec![&THREE], &named).unwrap();
        run.check_named_parts().unwrap();
        assert_eq!(run.select("three").unwrap().names, ["b"]);
        let named = ["three/d".to_owned()];
        let run = Run::new(&workspace, Size::Change, vec![&THREE], &named).unwrap();
        let error = run.check_named_parts().unwrap_err();
        assert!(error.is::<UnknownPart>());
        assert_eq!(error.to_string(), "three has no part three/d: there are three/a, three/b, three/c");
    }

    #[test]
    fn what_has_no_time_is_skipped_with_an_allowed_reason() {
        let workspace = Workspace::load(&crate::workspace::root()).unwrap();
        let allowed = Allowed::read(&workspace.root).unwrap();
        let plan = Plan {
            run: ["three/a", "other/b"].map(str::to_owned).into(),
            left_out: ["three/b", "three/c", "other/a"].map(str::to_owned).into(),
        };
        let run = Run::new(&workspace, Size::Ci, vec![&THREE], &[]).unwrap();
        let selected = run.of_plan(&plan, "three");
        assert_eq!(selected.names, ["a"]);
        let skipped: Vec<&str> = selected.skipped.iter().map(|skip| &*skip.part).collect();
        assert_eq!(skipped, ["three/b", "three/c"]);
        assert!(selected.skipped.iter().all(|skip| allowed.allows(skip)));
    }

    #[test]
    fn what_is_outstanding_is_due_before_what_the_change_touches() {
        let workspace = Workspace::load(&crate::workspace::root()).unwrap();
        let mut run = Run::new(&workspace, Size::Ci, vec![&THREE], &[]).unwrap();
        let everything = Touched::Everything(String::new());
        run.touched = everything.into();
        assert!(run.due_parts().unwrap().is_empty());
        let outstanding = ["three/c", "three/gone"].map(str::to_owned).into();
        run.verified = Some(Verified { outstanding, ..Verified::default() });
        assert_eq!(run.due_parts().unwrap(), ["three/c"]);
        let commit = touched::head(&workspace.root).unwrap().unwrap();
        let mut result = StepResult::new("three", State::Passed(String::new()));
        result.skipped = vec![Skip { part: "three/c".to_owned(), reason: NO_TIME.to_owned() }];
        let after = run.verified_after(&[result]).unwrap().unwrap();
        assert_eq!(after.text(), format!("{commit}\nthree/c\n"));
    }

    #[test]
    fn the_recorded_costs_are_valid() {
        costs(&Workspace::load(&crate::workspace::root()).unwrap()).unwrap();
    }
}
