//! The linearizability search of Wing and Gong with Lowe's cache, one key at a time (linearizability is local).
//!
//! Custom code, because existing crates bring a model checker, or do not support operations without a response. A
//! state of the search is the set of answered operations that are placed, the set of unanswered ones that are
//! placed, and the value; no state is visited twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::operation::{Action, Operation, Outcome};
use super::shorten::shorten;

/// Number of states per key after which the search is undecided.
const STATES_LIMIT: usize = 2_000_000;
/// Represents every value that no other operation refers to: they are equivalent.
const UNNAMED: u64 = u64::MAX;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// The shortest sub-history found that is not linearizable.
    Violated(Vec<Operation>),
    Undecided {
        key: String,
    },
}

/// Every key is missing initially.
pub fn check(history: &[Operation]) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation.clone());
    }
    let mut undecided = None;
    for (key, operations) in keys {
        match explain(&operations) {
            Some(true) => {}
            Some(false) => {
                return Verdict::Violated(shorten(
                    operations,
                    |part| explain(part) == Some(false),
                    last_values,
                ));
            }
            None => undecided = Some(key.to_owned()),
        }
    }
    undecided.map_or(Verdict::Linearizable, |key| Verdict::Undecided { key })
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    value: Option<u64>,
    /// All answered operations before this one are placed ...
    before: usize,
    /// ... and these after it, ascending.
    ahead: Vec<usize>,
    /// Unanswered operations that are placed, ascending.
    unanswered: Vec<usize>,
}

impl State {
    fn with_answered(&self, number: usize, value: Option<u64>) -> Self {
        let mut next = Self { value, ..self.clone() };
        insert(&mut next.ahead, number);
        while next.ahead.first() == Some(&next.before) {
            next.ahead.remove(0);
            next.before += 1;
        }
        next
    }

    fn with_unanswered(&self, number: usize, value: Option<u64>) -> Self {
        let mut next = Self { value, ..self.clone() };
        insert(&mut next.unanswered, number);
        next
    }
}

fn insert(sorted: &mut Vec<usize>, number: usize) {
    if let Err(at) = sorted.binary_search(&number) {
        sorted.insert(at, number);
    }
}

struct Unanswered<'a> {
    operation: &'a Operation,
    /// The previous unanswered operation with the same effect.
    twin: Option<usize>,
}

/// The same history, with one value for all that were never read and never swapped from.
fn without_unnamed_values(operations: &[Operation]) -> Vec<Operation> {
    let mut named = HashSet::new();
    for one in operations {
        named.extend(match (one.action, one.outcome) {
            (Action::Swap { from, .. }, _) => Some(from),
            (_, Outcome::Saw(value)) => value,
            _ => None,
        });
    }
    let known = |value: u64| if named.contains(&value) { value } else { UNNAMED };
    let plain = |one: &Operation| {
        let action = match one.action {
            Action::Write(value) => Action::Write(known(value)),
            Action::Create(value) => Action::Create(known(value)),
            Action::Swap { from, to } => Action::Swap { from, to: known(to) },
            other => other,
        };
        Operation { action, ..one.clone() }
    };
    operations.iter().map(plain).collect()
}

/// Whether some order explains the operations of one key; `None` if the limit was exceeded.
fn explain(operations: &[Operation]) -> Option<bool> {
    search(&without_unnamed_values(operations), true).map(|values| !values.is_empty())
}

/// Possible values of the key after the operations; `None` if the limit was exceeded.
fn last_values(operations: &[Operation]) -> Option<BTreeSet<Option<u64>>> {
    search(operations, false)
}

/// Final values of all orders that explain the operations, or of the first.
fn search(operations: &[Operation], first: bool) -> Option<BTreeSet<Option<u64>>> {
    let mut values = BTreeSet::new();
    let by_call = |unknown: bool| {
        let mut some: Vec<&Operation> =
            operations.iter().filter(|one| (one.outcome == Outcome::Unknown) == unknown).collect();
        some.sort_by_key(|one| one.called);
        some
    };
    let (answered, unanswered) = (by_call(false), by_call(true));
    let unanswered: Vec<Unanswered<'_>> = unanswered
        .iter()
        .enumerate()
        .map(|(number, one)| Unanswered {
            operation: one,
            twin: unanswered[..number].iter().rposition(|other| other.action == one.action),
        })
        .collect();
    let start = State { value: None, before: 0, ahead: Vec::new(), unanswered: Vec::new() };
    let mut visited = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        if state.before == answered.len() {
            values.insert(state.value);
            if first {
                break;
            }
        }
        if visited.len() > STATES_LIMIT {
            return None;
        }
        let next = successors(&state, &answered, &unanswered);
        open.extend(next.into_iter().filter(|next| visited.insert(next.clone())));
    }
    Some(values)
}

/// Operations that may take effect next: those called before any other one ended. The most likely comes last.
fn successors(state: &State, answered: &[&Operation], unanswered: &[Unanswered<'_>]) -> Vec<State> {
    let (mut candidates, mut first_end) = (Vec::new(), u64::MAX);
    for (number, one) in answered.iter().enumerate().skip(state.before) {
        if one.called > first_end {
            break;
        }
        if state.ahead.binary_search(&number).is_err() {
            first_end = first_end.min(one.end());
            candidates.push((number, *one));
        }
    }
    let placed = |number: usize| state.unanswered.binary_search(&number).is_ok();
    let started = unanswered.iter().take_while(|one| one.operation.called <= first_end).enumerate();
    // Of equivalent operations the one that was called first can replace the others.
    let eligible = started.filter(|(number, one)| !placed(*number) && one.twin.is_none_or(placed));
    let (mut next, mut blind) = (Vec::new(), None);
    for (number, one) in eligible {
        match one.operation.apply(state.value) {
            Some(Some(UNNAMED)) => blind = blind.or(Some(number)),
            // Without effect, it is equivalent to never having happened.
            Some(value) if value != state.value => next.push(state.with_unanswered(number, value)),
            _ => {}
        }
    }
    // The earliest response is tried first: it is on top of the stack.
    candidates.sort_by_key(|(_, one)| std::cmp::Reverse(one.end()));
    for (number, one) in candidates {
        if let Some(value) = one.apply(state.value) {
            next.push(state.with_answered(number, value));
        } else if let (Some(blind), Some(value)) = (blind, one.apply(Some(UNNAMED))) {
            // A value without references is written no earlier than its presence matters.
            next.push(state.with_unanswered(blind, Some(UNNAMED)).with_answered(number, value));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::operation::Action::{Create, Delete, Read, Swap, Write};
    use super::super::operation::Outcome::{Done, Missing, Refused, Saw, Unknown};
    use super::super::operation::{Action, Operation, Outcome};
    use super::*;

    fn history(rows: &[(u64, u64, Action, Outcome)]) -> Vec<Operation> {
        let one = |(client, (called, answered, action, outcome)): (usize, &(u64, u64, Action, Outcome))| {
            Operation {
                client,
                key: "/k".into(),
                action: *action,
                outcome: *outcome,
                called: *called,
                answered: *answered,
            }
        };
        rows.iter().enumerate().map(one).collect()
    }

    fn accepts(rows: &[(u64, u64, Action, Outcome)]) {
        assert_eq!(check(&history(rows)), Verdict::Linearizable, "{rows:?}");
    }

    /// Expects a violation that is reduced to the rows with these numbers.
    fn rejects(rows: &[(u64, u64, Action, Outcome)], expected: &[usize]) {
        let Verdict::Violated(part) = check(&history(rows)) else { panic!("accepted: {rows:?}") };
        let numbers: Vec<usize> = part.iter().map(|one| one.client).collect();
        assert_eq!(numbers, expected, "{part:?}");
    }

    #[test]
    fn sequential_operations() {
        accepts(&[(0, 1, Read, Saw(None)), (2, 3, Write(1), Done), (4, 5, Read, Saw(Some(1)))]);
        accepts(&[(0, 1, Create(1), Done), (2, 3, Delete, Done), (4, 5, Create(2), Done)]);
        accepts(&[(0, 1, Swap { from: 1, to: 2 }, Missing), (2, 3, Delete, Missing)]);
    }

    #[test]
    fn concurrent_operations_take_any_order() {
        accepts(&[(0, 10, Write(1), Done), (0, 10, Write(2), Done), (11, 12, Read, Saw(Some(1)))]);
        accepts(&[(0, 10, Write(1), Done), (1, 2, Read, Saw(None)), (3, 4, Read, Saw(Some(1)))]);
    }

    #[test]
    fn a_stale_read_is_rejected() {
        let rows = [
            (0, 1, Write(1), Done),
            (2, 3, Write(2), Done),
            (2, 9, Read, Saw(Some(2))),
            (10, 11, Read, Saw(Some(1))),
            (12, 13, Read, Saw(Some(2))),
        ];
        rejects(&rows, &[0, 1, 3]);
    }

    #[test]
    fn a_read_that_goes_back_is_rejected() {
        let rows = [
            (0, 1, Write(1), Done),
            (2, 20, Write(2), Done),
            (4, 5, Read, Saw(Some(2))),
            (6, 7, Read, Saw(Some(1))),
        ];
        rejects(&rows, &[0, 1, 2, 3]);
    }

    #[test]
    fn a_lost_write_is_rejected() {
        rejects(&[(0, 1, Write(1), Done), (2, 3, Read, Saw(None))], &[0, 1]);
        rejects(&[(0, 1, Read, Saw(None)), (2, 3, Create(1), Done), (4, 5, Create(2), Done)], &[1, 2]);
    }

    #[test]
    fn two_winners_of_a_swap_are_rejected() {
        let rows = [
            (0, 1, Write(1), Done),
            (2, 9, Swap { from: 1, to: 2 }, Done),
            (3, 8, Swap { from: 1, to: 3 }, Done),
            (3, 8, Swap { from: 1, to: 4 }, Refused),
        ];
        rejects(&rows, &[0, 1, 2]);
    }

    #[test]
    fn a_value_from_nowhere_is_rejected() {
        rejects(&[(0, 1, Write(1), Done), (2, 3, Read, Saw(Some(9)))], &[1]);
    }

    #[test]
    fn what_has_no_answer_may_have_happened_or_not() {
        accepts(&[(0, 1, Write(1), Unknown), (2, 3, Read, Saw(None))]);
        accepts(&[(0, 1, Write(1), Unknown), (2, 3, Read, Saw(Some(1)))]);
        accepts(&[(0, 1, Write(1), Unknown), (2, 3, Read, Saw(None)), (4, 5, Read, Saw(Some(1)))]);
        // But only once, and not before its call.
        let back = [
            (0, 1, Write(1), Unknown),
            (2, 3, Read, Saw(Some(1))),
            (4, 5, Write(2), Done),
            (6, 7, Read, Saw(Some(1))),
        ];
        rejects(&back, &[0, 1, 2, 3]);
        rejects(&[(0, 1, Read, Saw(Some(1))), (2, 3, Write(1), Unknown)], &[0]);
    }

    #[test]
    fn keys_are_checked_independently() {
        let mut rows = history(&[(0, 1, Write(1), Done), (2, 3, Read, Saw(None))]);
        rows[1].key = "/other".into();
        assert_eq!(check(&rows), Verdict::Linearizable);
    }

    /// Thousands of operations of many clients, as in a recording, generated from a valid order.
    #[test]
    fn one_wrong_read_is_found_in_a_long_history() {
        let (mut rows, mut value) = (Vec::new(), None);
        for step in 0..2000_u64 {
            let (called, answered) = (step * 10, step * 10 + 75);
            rows.push(match step % 5 {
                0 => (called, answered, Write(step), Done),
                1 => (called, answered, Read, Saw(value)),
                2 => (called, answered, Swap { from: step - 2, to: step }, Done),
                3 if step % 100 == 3 => (called, answered, Write(step + 1_000_000), Unknown),
                _ => (called, answered, Read, Saw(value)),
            });
            value = if step % 5 == 0 || step % 5 == 2 { Some(step) } else { value };
        }
        accepts(&rows);
        let wrong = rows.iter().rposition(|row| row.2 == Read).unwrap();
        rows[wrong].3 = Saw(Some(0));
        let Verdict::Violated(part) = check(&history(&rows)) else { panic!("accepted") };
        assert!(part.iter().any(|one| one.client == wrong), "{part:?}");
    }
}
