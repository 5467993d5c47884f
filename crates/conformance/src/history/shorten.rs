//! From a long history that nothing explains to a short one that a person can read.
//!
//! It only takes away what can not turn a good history into a bad one: the end, operations without effect,
//! and, where nobody looked, writes.

use super::operation::{Action, Operation, Outcome};

/// `bad` holds for `operations`, and for what is returned.
pub fn shorten(operations: Vec<Operation>, bad: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut kept = cut_end(operations, &bad);
    kept.sort_by_key(|one| one.called);
    let mut size = kept.len();
    while size > 0 {
        let before = kept.len();
        // Backwards: what came late explains more, so the earliest are left.
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

/// The shortest beginning that is bad: what was not answered by then is unanswered.
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
    // Where the mere presence of a value counts, its absence would be a lie.
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
