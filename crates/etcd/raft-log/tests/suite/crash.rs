//! After a crash at any point, whatever happens to unsynced data, the log opens, holds everything that was flushed,
//! and its contents are those of some moment before the crash.

use proptest::prelude::*;
use raft_log::Entry;
use raft_log::simulated::{Fate, SimulatedDisk};

use crate::oracle::{LogContents, Operation, TestLog, open};

/// Random outcomes per cut, in addition to losing all and keeping all.
const MIXED: u64 = 6;

fn fates(seed: u64) -> impl Iterator<Item = Fate> {
    let mixed = (0..MIXED).map(move |number| Fate::Mixed(seed.wrapping_mul(1000) + number));
    [Fate::Lost, Fate::Kept].into_iter().chain(mixed)
}

/// Opens the disk and returns the number of records it holds.
fn recover(run: &TestLog, disk: &SimulatedDisk, steps: usize) -> Result<usize, String> {
    let (log, mut flusher, _) = open(disk).map_err(|error| format!("does not open: {error}"))?;
    let contents = LogContents::of(&log);
    let allowed = run.allowed(steps);
    let Some(records) = allowed.clone().find(|records| run.history[*records] == contents) else {
        return Err(format!("holds none of the states {allowed:?} but {contents:?}"));
    };
    // The log can be continued.
    let index = contents.last().map_or(0, |last| last + 1);
    let entry = Entry { index, term: 99, payload: vec![1; 600].into() };
    log.append([entry]).map_err(|error| format!("does not append: {error}"))?;
    flusher.flush().map_err(|error| format!("does not flush: {error}"))?;
    let expected = LogContents::of(&log);
    drop((log, flusher));
    let (log, _, _) = open(disk).map_err(|error| format!("does not open again: {error}"))?;
    if LogContents::of(&log) != expected {
        return Err(format!(
            "differs when it is opened again: {:?}, not {expected:?}",
            LogContents::of(&log)
        ));
    }
    Ok(records)
}

/// Checks all cuts with all outcomes, and for some of them all cuts of the following open.
fn check(run: &TestLog) -> Result<(), String> {
    for steps in 0..=run.disk.steps() {
        for (number, fate) in fates(steps as u64).enumerate() {
            let context = |error| format!("cut after {steps} steps, {fate:?}: {error}");
            let disk = run.disk.crash(steps, fate);
            recover(run, &disk, steps).map_err(context)?;
            if (steps + number) % 5 == 0 {
                check_second_crash(run, &run.disk.crash(steps, fate), steps).map_err(context)?;
            }
        }
    }
    Ok(())
}

/// Simulates a second crash while the log opens after the first.
fn check_second_crash(run: &TestLog, disk: &SimulatedDisk, steps: usize) -> Result<(), String> {
    drop(open(disk).map_err(|error| format!("does not open: {error}"))?);
    for opening in 0..=disk.steps() {
        for fate in fates(opening as u64) {
            let context = |error| format!("then cut after {opening} steps of opening, {fate:?}: {error}");
            recover(run, &disk.crash(opening, fate), steps).map_err(context)?;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_survive_any_crash(operations in crate::oracle::operations(30)) {
        let run = TestLog::with(SimulatedDisk::new(), &operations);
        prop_assert_eq!(check(&run), Ok(()));
    }
}

/// All sequences of four of these operations: what random ones might miss.
#[test]
fn all_short_sequences_of_operations_survive_any_crash() {
    use Operation::{Append, Flush, Maintain, Purge, State, Truncate};
    let kinds =
        [Append(vec![40, 1200]), Append(vec![1900]), State(1, 20), Truncate(1), Purge(2), Flush, Maintain];
    let rows = kinds.len().pow(4);
    for row in 0..rows {
        let mut operations = vec![Append(vec![300, 400]), Flush];
        operations.extend((0..4).map(|at| kinds[row / kinds.len().pow(at) % kinds.len()].clone()));
        operations.push(Flush);
        // Only the moments of the last flush: earlier ones are ends of other sequences.
        let run = TestLog::with(SimulatedDisk::new(), &operations);
        let last = run.disk.steps();
        for steps in last.saturating_sub(8)..=last {
            for fate in [Fate::Lost, Fate::Kept, Fate::Mixed(row as u64), Fate::Mixed(!(row as u64))] {
                let result = recover(&run, &run.disk.crash(steps, fate), steps);
                assert!(result.is_ok(), "{operations:?}, cut after {steps}, {fate:?}: {result:?}");
            }
        }
    }
}

/// Validates the check: without real syncs it must find lost records.
#[test]
fn a_disk_that_lies_about_syncs_is_detected() {
    let disk = SimulatedDisk::new();
    let mut run = TestLog::new(disk.clone());
    disk.set_lying_syncs(true);
    for _ in 0..3 {
        run.apply(&Operation::Append(vec![100, 900]));
        run.apply(&Operation::Flush);
    }
    let error = check(&run).expect_err("a flush without a sync loses records");
    assert!(error.contains("holds none of the states"), "{error}");
}

/// One flush of many sectors, with each sector lost alone or kept alone.
#[test]
fn every_single_hole_in_the_last_flush_is_a_torn_tail() {
    let operations = [
        Operation::Append(vec![200]),
        Operation::Flush,
        Operation::Append(vec![300, 500, 0, 0, 700, 100]),
        Operation::Flush,
    ];
    let mut run = TestLog::with(SimulatedDisk::new(), &operations);
    run.close();
    let name = run.disk.names().into_iter().find(|name| name.ends_with(".log")).expect("a segment");
    let whole = run.disk.content(&name).expect("its bytes");
    let before =
        TestLog::with(SimulatedDisk::new(), &operations[..2]).disk.content(&name).expect("its bytes");
    for lost in 1..whole.len() / 512 {
        let sector = lost * 512..(lost + 1) * 512;
        let (mut hole, mut only) = (whole.clone(), before.clone());
        hole[sector.clone()].copy_from_slice(&before[sector.clone()]);
        only[sector.clone()].copy_from_slice(&whole[sector]);
        for content in [hole, only] {
            let disk = run.disk.with_content(&name, content);
            let (log, _, _) = open(&disk).unwrap_or_else(|error| panic!("sector {lost}: {error}"));
            let contents = LogContents::of(&log);
            let at = run.history.iter().position(|known| *known == contents);
            assert!(at.is_some_and(|records| records >= 1), "sector {lost}: {contents:?}");
        }
    }
}
