//! Reduces a long history without an explanation to a short, readable one.
//!
//! It removes only what cannot make a valid history invalid: the end, operations without effect, and unread writes.

use std::collections::BTreeSet;

use super::operation::{Action, Operation, Outcome};

/// Target number of operations: longer histories are cut at moments without pending operations.
const READABLE: usize = 12;
/// Number of such moments that are tried, from the last.
const CUTS: usize = 64;

/// `bad` holds for `operations` and for the result.
pub fn shorten(
    operations: Vec<Operation>,
    bad: impl Fn(&[Operation]) -> bool,
    last_values: impl Fn(&[Operation]) -> Option<BTreeSet<Option<u64>>>,
) -> Vec<Operation> {
    let mut kept = cut_end(operations, &bad);
    kept.sort_by_key(|one| one.called);
    kept = take_away(kept, &bad);
    if kept.len() > READABLE {
        kept = take_away(cut_beginning(kept, &bad, last_values), &bad);
    }
    kept
}

fn take_away(mut kept: Vec<Operation>, bad: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut size = kept.len();
    while size > 0 {
        let before = kept.len();
        // In reverse: late operations explain more, so the earliest are kept.
        for end in (0..kept.len()).rev().step_by(size) {
            let from = (end + 1).saturating_sub(size);
            let goes = |number: usize| (from..=end).contains(&number) && may_go(number, &kept);
            let without: Vec<Operation> =
                (0..kept.len()).filter(|number| !goes(*number)).map(|number| kept[number].clone()).collect();
            if without.len() < kept.len() && bad(&without) {
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
    bad: impl Fn(&[Operation]) -> bool,
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
        let stands_for = values.into_iter().next().flatten().map(|value| Operation {
            action: Action::Write(value),
            outcome: Outcome::Done,
            ..before[number - 1].clone()
        });
        let part: Vec<Operation> = stands_for.into_iter().chain(after.iter().cloned()).collect();
        if bad(&part) {
            return part;
        }
    }
    operations
}

/// The shortest bad prefix: operations that are pending at its end are unanswered.
fn cut_end(operations: Vec<Operation>, bad: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut times: Vec<u64> = operations.iter().map(|one| one.answered).collect();
    times.sort_unstable();
    let until = |time: u64| -> Vec<Operation> {
        let begun = operations.iter().filter(|one| one.called <= time).cloned();
        begun
            .map(|mut one| {
                if one.answered > time {
                    one.outcome = Outcome::Unknown;
                }
                one
            })
            .filter(|one| one.outcome != Outcome::Unknown || one.action != Action::Read)
            .collect()
    };
    let first = times.partition_point(|time| !bad(&until(*time)));
    times.get(first).map_or_else(|| operations.clone(), |time| until(*time))
}

fn may_go(number: usize, all: &[Operation]) -> bool {
    let one = &all[number];
    if one.is_without_effect() {
        return true;
    }
    let value = match one.action {
        Action::Write(value) | Action::Create(value) | Action::Swap { to: value, .. } => value,
        Action::Read | Action::Delete => return false,
    };
    // Removing a value whose presence matters could make a valid history invalid.
    let looked_at = |other: &Operation| match other.action {
        Action::Read => other.outcome == Outcome::Saw(Some(value)),
        Action::Swap { from, .. } => from == value || other.outcome == Outcome::Refused,
        Action::Create(_) => other.outcome == Outcome::Refused,
        Action::Delete => other.outcome == Outcome::Done,
        Action::Write(_) => false,
    };
    let creates = matches!(one.action, Action::Create(_)) || matches!(one.action, Action::Swap { .. });
    !creates && !all.iter().enumerate().any(|(other, operation)| other != number && looked_at(operation))
}
