//! Reduces a long history without an explanation to a short, readable one.
//!
//! It removes only what cannot make a valid history invalid: the end, operations without effect, and unread writes.

use std::collections::BTreeSet;

use super::operation::{Action, Operation, Outcome};

/// Target number of operations: longer histories are cut at moments without pending operations.
const READABLE: usize = 12;
/// Number of such moments that are tried, from the last.
const CUTS: usize = 64;

/// `is_violation` holds for `operations` and for the result.
pub fn shorten(
    operations: Vec<Operation>,
    is_violation: impl Fn(&[Operation]) -> bool,
    last_values: impl Fn(&[Operation]) -> Option<BTreeSet<Option<u64>>>,
) -> Vec<Operation> {
    let mut kept = cut_end(operations, &is_violation);
    kept.sort_by_key(|one| one.called);
    kept = remove_operations(kept, &is_violation);
    if kept.len() > READABLE {
        kept = remove_operations(cut_beginning(kept, &is_violation, last_values), &is_violation);
    }
    kept
}

fn remove_operations(
    mut kept: Vec<Operation>,
    is_violation: impl Fn(&[Operation]) -> bool,
) -> Vec<Operation> {
    let mut size = kept.len();
    while size > 0 {
        let before = kept.len();
        // In reverse: late operations explain more, so the earliest are kept.
        for end in (0..kept.len()).rev().step_by(size) {
            let from = (end + 1).saturating_sub(size);
            let goes = |number: usize| (from..=end).contains(&number) && is_removable(number, &kept);
            let without: Vec<Operation> =
                (0..kept.len()).filter(|number| !goes(*number)).map(|number| kept[number].clone()).collect();
            if without.len() < kept.len() && is_violation(&without) {
                kept = without;
            }
        }
        size = if size == 1 && kept.len() < before { 1 } else { size / 2 };
    }
    kept
}

/// At a moment without pending operations and with a single possible value, a write of it replaces all before.
fn cut_beginning(
    operations: Vec<Operation>,
    is_violation: impl Fn(&[Operation]) -> bool,
    last_values: impl Fn(&[Operation]) -> Option<BTreeSet<Option<u64>>>,
) -> Vec<Operation> {
    let mut ends = 0;
    let mut quiet = Vec::new();
    for (number, one) in operations.iter().enumerate() {
        if number > 1 && ends < one.called {
            quiet.push(number);
        }
        // An operation without a response is pending forever.
        ends = ends.max(one.end());
    }
    for number in quiet.into_iter().rev().take(CUTS) {
        let (before, after) = operations.split_at(number);
        let Some(values) = last_values(before).filter(|values| values.len() == 1) else { continue };
        let replaces = values.into_iter().next().flatten().map(|value| Operation {
            action: Action::Write(value),
            outcome: Outcome::Done,
            ..before[number - 1].clone()
        });
        let part: Vec<Operation> = replaces.into_iter().chain(after.iter().cloned()).collect();
        if is_violation(&part) {
            return part;
        }
    }
    operations
}

/// The shortest bad prefix: operations that are pending at its end are unanswered.
fn cut_end(operations: Vec<Operation>, is_violation: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut times: Vec<u64> = operations.iter().map(|one| one.answered).collect();
    times.sort_unstable();
    let until = |time: u64| -> Vec<Operation> {
        let started = operations.iter().filter(|one| one.called <= time).cloned();
        started
            .map(|mut one| {
                if one.answered > time {
                    one.outcome = Outcome::Unknown;
                }
                one
            })
            .filter(|one| one.outcome != Outcome::Unknown || one.action != Action::Read)
            .collect()
    };
    let first = times.partition_point(|time| !is_violation(&until(*time)));
    times.get(first).map_or_else(|| operations.clone(), |time| until(*time))
}

fn is_removable(number: usize, all: &[Operation]) -> bool {
    let one = &all[number];
    if one.is_without_effect() {
        return true;
    }
    let value = match one.action {
        Action::Write(value) | Action::Create(value) | Action::Swap { to: value, .. } => value,
        Action::Read | Action::Delete => return false,
    };
    // Removing a value whose presence matters could make a valid history invalid.
    let is_observed = |other: &Operation| match other.action {
        Action::Read => other.outcome == Outcome::Saw(Some(value)),
        Action::Swap { from, .. } => from == value || other.outcome == Outcome::Refused,
        Action::Create(_) => other.outcome == Outcome::Refused,
        Action::Delete => other.outcome == Outcome::Done,
        Action::Write(_) => false,
    };
    let creates = matches!(one.action, Action::Create(_)) || matches!(one.action, Action::Swap { .. });
    !creates && !all.iter().enumerate().any(|(other, operation)| other != number && is_observed(operation))
}
