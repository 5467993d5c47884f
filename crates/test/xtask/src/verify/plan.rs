//! Plans which parts a run includes, and which it omits for lack of time. A pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::{Kind, Part, step_of};
use super::rotation::{SLICES, slice};

/// How many of the checks a run includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// `cargo verify`: what every change needs.
    Change,
    /// `cargo verify --ci`: also what the change touches, and a slice of the rest.
    Ci,
    /// `cargo verify --all`.
    All,
}

/// Planned seconds of a CI run on a host of reference speed: 45 minutes, less a seventh for unrecorded work.
pub const TARGET: f64 = 45.0 * 60.0 * 6.0 / 7.0;
/// Seconds after which a CI run starts no optional part, however slow its host is: CI aborts a run after 90 minutes.
pub const LIMIT: f64 = 78.0 * 60.0;
/// Steps whose parts run on booted nodes: their slice has half of the time that the other touched parts leave.
const SCENARIOS: &str = "scenarios-";
/// Assumed seconds of a part without a record.
const UNKNOWN: f64 = 150.0;

/// Recorded seconds of parts and steps on the reference host, from `.ci/costs.json`.
pub type Costs = BTreeMap<String, f64>;

/// Time budget of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Seconds that the run takes without any optional part.
    pub elapsed: f64,
    /// Factor by which this run's parts exceeded their record so far; at least 1.
    pub slowdown: f64,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub run: BTreeSet<String>,
    /// What does not fit before [`TARGET`], scaled by the host's speed.
    pub left_out: BTreeSet<String>,
}

/// Whether the part runs on booted nodes.
pub fn is_scenario(id: &str) -> bool {
    id.starts_with(SCENARIOS)
}

/// Plans a CI run: what every change needs, what is `due` in this order, and slice `number` of the rest. Parts of
/// `finished` steps are neither run nor left out.
pub fn of_ci(
    parts: &[Part],
    due: &[String],
    number: u64,
    costs: &Costs,
    clock: Clock,
    finished: &BTreeSet<&str>,
) -> Plan {
    let cost = |id: &str| cost(costs, id);
    let mut plan = Plan::default();
    let is_finished = |id: &str| finished.contains(step_of(id));
    let always = parts.iter().filter(|part| part.kind == Kind::Always && !is_finished(&part.id));
    plan.run.extend(always.map(|part| part.id.clone()));
    // The slice is computed over all rotating parts, so that a part that is due today, or whose step is finished, keeps
    // its slot.
    let (scenarios, others): (Vec<String>, Vec<String>) = parts
        .iter()
        .filter(|part| part.kind != Kind::Always)
        .map(|part| part.id.clone())
        .partition(|id| is_scenario(id));
    // Rotates the order per round: a part that was omitted for lack of time comes first in another round.
    let round = usize::try_from(number / SLICES).unwrap_or(0);
    let turn = |parts: &[String]| -> Vec<String> {
        let mut turn: Vec<String> = slice(parts, cost, number).into_iter().collect();
        let first = round % turn.len().max(1);
        turn.rotate_left(first);
        turn.retain(|id| !due.contains(id) && !is_finished(id));
        turn
    };
    let until = (TARGET * clock.slowdown).min(LIMIT);
    let (due_scenarios, due_others): (Vec<&String>, Vec<&String>) =
        due.iter().filter(|id| !is_finished(id)).partition(|id| is_scenario(id));
    let mut filling = Filling { plan, at: clock.elapsed, costs, slowdown: clock.slowdown };
    filling.take(due_others, until);
    let scenarios = turn(&scenarios);
    // A change that touches every machine would leave no time for the slice, and most changes do.
    if !due_scenarios.is_empty() {
        let half = filling.at + (until - filling.at).max(0.0) / 2.0;
        filling.take(&scenarios, half);
        filling.take(due_scenarios, until);
    }
    filling.take(scenarios.iter().chain(&turn(&others)), until);
    filling.plan
}

/// A plan to which parts are added.
struct Filling<'a> {
    plan: Plan,
    /// Seconds that the run takes with what the plan has.
    at: f64,
    costs: &'a Costs,
    slowdown: f64,
}

impl Filling<'_> {
    /// Adds those of the parts that end before `limit`.
    fn take<'p>(&mut self, parts: impl IntoIterator<Item = &'p String>, limit: f64) {
        for id in parts {
            let end = self.at + cost(self.costs, id) * self.slowdown;
            if self.plan.run.contains(id) {
                continue;
            } else if end > limit {
                self.plan.left_out.insert(id.clone());
            } else {
                self.at = end;
                self.plan.left_out.remove(id);
                self.plan.run.insert(id.clone());
            }
        }
    }
}

/// How the command line selects a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Nothing,
    /// Its step.
    Step,
    /// The part.
    Part,
    /// Other parts of its step.
    Others,
}

/// Plans the other sizes. A named step runs its usual parts, or the long ones if it has no others.
pub fn of_size(parts: &[Part], size: Size, named: impl Fn(&Part) -> Named) -> Plan {
    let has_usual: BTreeSet<&str> =
        parts.iter().filter(|part| part.kind != Kind::Long).map(Part::step).collect();
    let runs = |part: &Part| match (named(part), part.kind) {
        (Named::Part, _) => true,
        (Named::Others, _) => false,
        (_, Kind::Always) => true,
        (named, Kind::Touched(_)) => size == Size::All || named == Named::Step,
        (named, Kind::Long) => size == Size::All || named == Named::Step && !has_usual.contains(part.step()),
    };
    Plan {
        run: parts.iter().filter(|part| runs(part)).map(|part| part.id.clone()).collect(),
        left_out: BTreeSet::new(),
    }
}

/// Recorded seconds of these parts.
pub fn expected(run: &BTreeSet<String>, costs: &Costs) -> f64 {
    run.iter().map(|id| cost(costs, id)).sum()
}

/// Recorded seconds of a part.
pub fn cost(costs: &Costs, id: &str) -> f64 {
    costs.get(id).copied().unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::super::touched::Area;
    use super::*;

    const AREA: Area = Area { packages: &["etcd"], paths: &[], except: &[] };

    fn parts() -> Vec<Part> {
        let mut parts = vec![Part::new("tests/all", Kind::Always)];
        parts.extend((0..4).map(|number| Part::new(format!("conformance/{number}"), Kind::Touched(AREA))));
        parts.extend((0..36).map(|number| Part::new(format!("soaks/{number}"), Kind::Long)));
        parts
    }

    fn ids(prefix: &str, count: u64) -> Vec<String> {
        (0..count).map(|number| format!("{prefix}{number}")).collect()
    }

    /// A plan of parts that take [`UNKNOWN`] seconds.
    fn plan(parts: &[Part], due: &[String], number: u64, clock: Clock) -> Plan {
        of_ci(parts, due, number, &Costs::new(), clock, &BTreeSet::new())
    }

    /// `expect`: parts that run, that are left out though they are due, and that are left out of the slice.
    fn check(due: &[String], clock: Clock, expect: (usize, usize, usize)) {
        let plan = plan(&parts(), due, 9, clock);
        let (due, slice): (Vec<&String>, Vec<&String>) =
            plan.left_out.iter().partition(|id| due.contains(id));
        assert_eq!((plan.run.len(), due.len(), slice.len()), expect, "{plan:?}");
    }

    #[test]
    fn a_ci_run_takes_what_is_due_and_a_slice() {
        let early = Clock { elapsed: 1000.0, slowdown: 1.0 };
        check(&[], early, (5, 0, 0));
        let due = ids("conformance/", 4);
        let both = plan(&parts(), &due, 9, early);
        assert!(due.iter().all(|id| both.run.contains(id)));
        let all: BTreeSet<_> = (0..10).flat_map(|number| plan(&parts(), &[], number, early).run).collect();
        assert_eq!(all.len(), 41, "ten runs take every part");
    }

    #[test]
    fn ten_runs_take_every_scenario_though_other_parts_are_left_out() {
        let parts: Vec<Part> = ["scenarios-qemu/", "soaks/"]
            .into_iter()
            .flat_map(|step| ids(step, 60))
            .map(|id| Part::new(id, Kind::Long))
            .collect();
        // 6 scenarios and 6 soaks per slice, 15 minutes each; 20 minutes are left.
        let clock = Clock { elapsed: TARGET - 20.0 * 60.0, slowdown: 1.0 };
        let run: BTreeSet<String> = (0..10).flat_map(|number| plan(&parts, &[], number, clock).run).collect();
        let scenarios = run.iter().filter(|id| is_scenario(id)).count();
        assert_eq!((scenarios, run.len() - scenarios), (60, 20));
    }

    #[test]
    fn runs_that_touch_everything_take_all_of_it_and_all_slices_in_turns() {
        let of =
            |prefix: &str, count, kind| ids(prefix, count).into_iter().map(move |id| Part::new(id, kind));
        let long = of("scenarios-qemu/long-", 40, Kind::Long);
        let usual = of("scenarios-qemu/usual-", 8, Kind::Touched(AREA));
        let image = of("image/", 2, Kind::Touched(AREA));
        let parts: Vec<Part> = image.chain(usual).chain(long).collect();
        // 25 minutes are left: what is due takes as long, and the slice's four scenarios 10.
        let clock = Clock { elapsed: TARGET - 25.0 * 60.0, slowdown: 1.0 };
        let (image, usual) = (ids("image/", 2), ids("scenarios-qemu/usual-", 8));
        let mut outstanding = Vec::new();
        let (mut run, mut last_of_usual) = (BTreeSet::new(), BTreeSet::new());
        for number in 0..20 {
            let rest = usual.iter().filter(|id| !outstanding.contains(*id)).cloned();
            let due: Vec<String> = image.iter().cloned().chain(outstanding.clone()).chain(rest).collect();
            let plan = plan(&parts, &due, number, clock);
            assert!(image.iter().all(|id| plan.run.contains(id)), "{plan:?}");
            outstanding = plan.left_out.iter().filter(|id| due.contains(id)).cloned().collect();
            last_of_usual.extend(plan.run.iter().filter(|id| usual.contains(id)).cloned());
            if number % 2 == 1 {
                assert_eq!(last_of_usual.len(), usual.len(), "two runs take all that is due");
                last_of_usual.clear();
            }
            run.extend(plan.run);
        }
        assert_eq!(run.len(), parts.len());
    }

    #[test]
    fn what_is_due_has_precedence_over_the_slice() {
        let due = ids("scenarios-qemu/due-", 5);
        let touched = due.iter().map(|id| Part::new(id.clone(), Kind::Touched(AREA)));
        let long = ids("scenarios-qemu/", 80).into_iter().map(|id| Part::new(id, Kind::Long));
        let parts: Vec<Part> = touched.chain(long).collect();
        // 25 minutes are left: what is due takes 12.5, and the slice's eight scenarios would take 20.
        let clock = Clock { elapsed: TARGET - 25.0 * 60.0, slowdown: 1.0 };
        let plan = plan(&parts, &due, 0, clock);
        assert!(due.iter().all(|id| plan.run.contains(id)), "{plan:?}");
        assert_eq!((plan.run.len(), plan.left_out.len()), (10, 3), "{plan:?}");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_named() {
        let due = ids("conformance/", 4);
        check(&due, Clock { elapsed: TARGET - 500.0, slowdown: 1.0 }, (4, 1, 4));
        check(&due, Clock { elapsed: TARGET, slowdown: 1.0 }, (1, 4, 4));
        // A slow host gets more time, up to the limit.
        check(&[], Clock { elapsed: TARGET, slowdown: 3.0 }, (5, 0, 0));
        check(&due, Clock { elapsed: LIMIT - 500.0, slowdown: 3.0 }, (2, 3, 4));
    }

    #[test]
    fn a_later_plan_takes_what_fits_after_all_and_repeats_nothing() {
        let due = ids("conformance/", 4);
        let plan = |elapsed, finished: &[&'static str]| {
            let clock = Clock { elapsed, slowdown: 1.2 };
            of_ci(&parts(), &due, 9, &Costs::new(), clock, &finished.iter().copied().collect())
        };
        // One part, in 180 s, ends before the limit.
        let first = plan(1.2 * TARGET - 200.0, &[]);
        assert_eq!(first.left_out.iter().filter(|id| due.contains(id)).count(), 3);
        let later = plan(1.2 * TARGET - 800.0, &["tests"]);
        assert!(due.iter().all(|id| later.run.contains(id)), "{later:?}");
        let last = plan(1.2 * TARGET - 800.0, &["tests", "conformance", "soaks"]);
        assert_eq!(last, Plan::default());
    }

    #[test]
    fn a_named_step_runs_its_usual_parts() {
        let named = |name: &'static str| {
            move |part: &Part| if part.step() == name { Named::Step } else { Named::Nothing }
        };
        let run = |size, name| of_size(&parts(), size, named(name)).run.len();
        assert_eq!(run(Size::Change, ""), 1);
        assert_eq!(run(Size::Change, "conformance"), 5);
        assert_eq!(run(Size::Change, "soaks"), 37, "it has long parts only");
        assert_eq!(run(Size::All, ""), 41);
        let one = |part: &Part| match (part.step(), part.id.as_str()) {
            (_, "soaks/7") => Named::Part,
            ("soaks", _) => Named::Others,
            _ => Named::Nothing,
        };
        assert!(of_size(&parts(), Size::Change, one).run.iter().eq(["soaks/7", "tests/all"]));
    }
}
