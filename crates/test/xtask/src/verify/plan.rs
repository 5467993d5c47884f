//! Plans which parts a run includes, and which it omits for lack of time. A pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::{Kind, Part, step_of};
use super::rotation::{SLICES, slice};
use super::touched::Touched;

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

/// Planned seconds of a CI run on a host of reference speed: 45 minutes, less a tenth for unrecorded work.
pub const TARGET: f64 = 0.9 * 45.0 * 60.0;
/// Seconds after which a CI run starts no optional part: CI aborts a run after 90 minutes.
pub const LIMIT: f64 = 78.0 * 60.0;
/// Steps whose parts run on booted nodes: their slice has reserved time, so that ten runs cover all of them.
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

/// Why a part is omitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    /// The change touches it, and it does not fit before [`LIMIT`].
    Touched,
    /// It belongs to the rotating slice, and fits neither before [`TARGET`], scaled by the host's speed, nor, as a
    /// scenario beside touched parts, into the time that those leave before [`LIMIT`].
    Slice,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub run: BTreeSet<String>,
    pub left_out: BTreeMap<String, LeftOut>,
}

/// Plans a CI run: what every change needs, what it touches, and slice `number` of the rest. Parts of `finished` steps
/// are neither run nor left out.
pub fn of_ci(
    parts: &[Part],
    touched: &Touched,
    number: u64,
    costs: &Costs,
    clock: Clock,
    finished: &BTreeSet<&str>,
) -> Plan {
    let cost = |id: &str| cost(costs, id);
    let is_touched = |part: &Part| match part.kind {
        Kind::Touched(area) => touched.touches(area),
        Kind::Always | Kind::Long => false,
    };
    let mut plan = Plan::default();
    let to_come = |part: &&Part| !finished.contains(part.step());
    let always = |part: &&Part| part.kind == Kind::Always;
    plan.run.extend(parts.iter().filter(to_come).filter(always).map(|part| part.id.clone()));
    let touched_parts: Vec<&Part> = parts.iter().filter(|part| is_touched(part)).collect();
    let touched_parts: Vec<&str> =
        touched_parts.into_iter().filter(to_come).map(|part| part.id.as_str()).collect();
    // The slice is computed over all rotating parts, so that a part that is touched today, or whose step is finished,
    // keeps its slot.
    let (scenarios, others): (Vec<String>, Vec<String>) = parts
        .iter()
        .filter(|part| part.kind != Kind::Always)
        .map(|part| part.id.clone())
        .partition(|id| id.starts_with(SCENARIOS));
    // Rotates the order per round: a part that was omitted for lack of time comes first in another round.
    let round = usize::try_from(number / SLICES).unwrap_or(0);
    let turn = |parts: &[String]| -> Vec<String> {
        let mut turn: Vec<String> = slice(parts, cost, number).into_iter().collect();
        let first = round % turn.len().max(1);
        turn.rotate_left(first);
        turn.retain(|id| !touched_parts.contains(&id.as_str()) && !finished.contains(step_of(id)));
        turn
    };
    let mut at = clock.elapsed;
    let mut fit = |plan: &mut Plan, id: &str, limit: f64, why: LeftOut| {
        let after = at + cost(id) * clock.slowdown;
        if after > limit {
            plan.left_out.insert(id.to_owned(), why);
        } else {
            at = after;
            plan.left_out.remove(id);
            plan.run.insert(id.to_owned());
        }
    };
    let until = (TARGET * clock.slowdown).min(LIMIT);
    let scenarios = turn(&scenarios);
    // A change that touches every machine would leave no time for the slice, and most changes do: its scenarios get
    // what the touched parts leave of the time until the limit, at least a quarter and at most half.
    if !touched_parts.is_empty() {
        let left = (LIMIT - clock.elapsed).max(0.0);
        let needed: f64 = touched_parts.iter().map(|id| cost(id)).sum();
        let spare = left - needed * clock.slowdown;
        let reserved = clock.elapsed + spare.clamp(left / 4.0, left / 2.0);
        scenarios.iter().for_each(|id| fit(&mut plan, id, reserved, LeftOut::Slice));
        touched_parts.iter().for_each(|id| fit(&mut plan, id, LIMIT, LeftOut::Touched));
    }
    for id in scenarios.iter().chain(&turn(&others)) {
        if !plan.run.contains(id) {
            fit(&mut plan, id, until, LeftOut::Slice);
        }
    }
    plan
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
        left_out: BTreeMap::new(),
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

    fn touching(packages: &[&str]) -> Touched {
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        Touched::Some { files: BTreeSet::new(), packages }
    }

    fn check(touched: &Touched, clock: Clock, expect: (usize, usize, usize)) {
        let plan = of_ci(&parts(), touched, 9, &Costs::new(), clock, &BTreeSet::new());
        let left = |why| plan.left_out.values().filter(|left| **left == why).count();
        assert_eq!((plan.run.len(), left(LeftOut::Touched), left(LeftOut::Slice)), expect, "{plan:?}");
    }

    #[test]
    fn a_ci_run_takes_what_is_touched_and_a_slice() {
        let early = Clock { elapsed: 1000.0, slowdown: 1.0 };
        check(&touching(&[]), early, (5, 0, 0));
        let both = of_ci(&parts(), &touching(&["etcd"]), 9, &Costs::new(), early, &BTreeSet::new());
        assert!(both.run.is_superset(&(0..4).map(|number| format!("conformance/{number}")).collect()));
        let all: BTreeSet<_> = (0..10)
            .flat_map(|number| {
                of_ci(&parts(), &touching(&[]), number, &Costs::new(), early, &BTreeSet::new()).run
            })
            .collect();
        assert_eq!(all.len(), 41, "ten runs take every part");
    }

    #[test]
    fn ten_runs_take_every_scenario_though_other_parts_are_left_out() {
        let parts: Vec<Part> = (0..60)
            .flat_map(|number| ["scenarios-qemu", "soaks"].map(|step| format!("{step}/{number}")))
            .map(|id| Part::new(id, Kind::Long))
            .collect();
        // 6 scenarios and 6 soaks per slice, 15 minutes each; 20 minutes are left.
        let clock = Clock { elapsed: TARGET - 20.0 * 60.0, slowdown: 1.0 };
        let plan = |number| of_ci(&parts, &touching(&[]), number, &Costs::new(), clock, &BTreeSet::new());
        let run: BTreeSet<String> = (0..10).flat_map(|number| plan(number).run).collect();
        let scenarios = run.iter().filter(|id| id.starts_with(SCENARIOS)).count();
        assert_eq!((scenarios, run.len() - scenarios), (60, 20));
    }

    #[test]
    fn ten_runs_take_every_scenario_though_each_touches_all() {
        let scenario = |name: String, kind| Part::new(format!("scenarios-qemu/{name}"), kind);
        let long = (0..40).map(|number| scenario(format!("long-{number}"), Kind::Long));
        let usual = (0..8).map(|number| scenario(format!("usual-{number}"), Kind::Touched(AREA)));
        let parts: Vec<Part> = usual.chain(long).collect();
        let clock = Clock { elapsed: 1500.0, slowdown: 1.0 };
        let plans: Vec<Plan> = (0..10)
            .map(|number| of_ci(&parts, &touching(&["etcd"]), number, &Costs::new(), clock, &BTreeSet::new()))
            .collect();
        let run: BTreeSet<&String> = plans.iter().flat_map(|plan| &plan.run).collect();
        assert_eq!(run.len(), parts.len());
        assert!(plans.iter().all(|plan| plan.left_out.is_empty()));
        // On a slow host, neither the slice nor the touched parts take all of the time.
        let slow = Clock { elapsed: 3000.0, slowdown: 2.0 };
        let plan = of_ci(&parts, &touching(&["etcd"]), 0, &Costs::new(), slow, &BTreeSet::new());
        let run = |kind: &str| plan.run.iter().filter(|id| id.contains(kind)).count();
        assert_eq!((run("long"), run("usual")), (1, 4));
    }

    #[test]
    fn touched_parts_have_precedence_over_the_slice() {
        let touched = (0..14).map(|number| Part::new(format!("conformance/{number}"), Kind::Touched(AREA)));
        let long = (0..80).map(|number| Part::new(format!("scenarios-qemu/{number}"), Kind::Long));
        let parts: Vec<Part> = touched.chain(long).collect();
        // 53 minutes are left: the touched parts take 35, and the slice's eight scenarios would take 20.
        let clock = Clock { elapsed: 1500.0, slowdown: 1.0 };
        let plan = of_ci(&parts, &touching(&["etcd"]), 0, &Costs::new(), clock, &BTreeSet::new());
        assert!(plan.left_out.values().eq(&[LeftOut::Slice]), "{plan:?}");
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_named() {
        // 45 minutes have passed: no slice; touched parts run until minute 78.
        check(&touching(&["etcd"]), Clock { elapsed: 2700.0, slowdown: 1.0 }, (5, 0, 4));
        check(&touching(&["etcd"]), Clock { elapsed: 4500.0, slowdown: 1.0 }, (2, 3, 4));
        // A slow host gets more time, up to the limit.
        check(&touching(&[]), Clock { elapsed: 2700.0, slowdown: 3.0 }, (5, 0, 0));
    }

    #[test]
    fn a_later_plan_takes_what_fits_after_all_and_repeats_nothing() {
        let plan = |elapsed, finished: &[&'static str]| {
            let clock = Clock { elapsed, slowdown: 1.2 };
            let finished = finished.iter().copied().collect();
            of_ci(&parts(), &touching(&["etcd"]), 9, &Costs::new(), clock, &finished)
        };
        let first = plan(4500.0, &[]);
        assert_eq!(first.left_out.values().filter(|why| **why == LeftOut::Touched).count(), 3);
        let later = plan(2900.0, &["tests"]);
        let expected: Vec<String> = (0..4).map(|number| format!("conformance/{number}")).collect();
        assert!(later.run.iter().eq(&expected), "{later:?}");
        let last = plan(2900.0, &["tests", "conformance", "soaks"]);
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
