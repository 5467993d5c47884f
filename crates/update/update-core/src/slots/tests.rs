use super::*;
use crate::trust::tests::release;

const OLD: Digest = Digest([1; 32]);
const OTHER: Digest = Digest([2; 32]);

fn entry(file: &str, root: Digest) -> Entry {
    Entry { name: EntryName::parse("k", file).unwrap(), root_hash: Some(root), bytes: 100 << 20 }
}

fn slot(name: char, root_hash: Digest) -> Slot {
    Slot { name, root_hash, capacity: 1 << 30, verity_capacity: 16 << 20 }
}

/// Runs version 2.0.0 from slot a.
fn machine(entries: &[(&str, Digest)]) -> BootState {
    BootState {
        running: OLD,
        slots: [slot('a', OLD), slot('b', OTHER)],
        entries: entries.iter().map(|(file, root)| entry(file, *root)).collect(),
        esp_free: 400 << 20,
    }
}

fn version(text: &str) -> Release {
    Release { version: text.parse().unwrap(), ..release() }
}

#[test]
fn an_update_writes_the_other_slot_and_activates_its_entry_last() {
    let machine = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    let root_hash = release().images.verity.root_hash;
    assert_eq!(
        machine.plan_install(&version("3.0.0")).unwrap(),
        [
            Step::RemoveEntry { file: "k_1.0.0.efi".into() },
            Step::Fill { slot: 'b', temporary: TEMPORARY.into() },
            Step::SetSlotUuids { slot: 'b', root_hash },
            Step::ActivateEntry { from: TEMPORARY.into(), to: "k_3.0.0+3-0.efi".into() },
        ]
    );
}

#[test]
fn a_downgrade_marks_the_running_entry_bad_last() {
    let machine = machine(&[("k_2.0.0.efi", OLD)]);
    let steps = machine.plan_install(&version("1.5.0")).unwrap();
    let expect = Step::SetTries { from: "k_2.0.0.efi".into(), to: "k_2.0.0+0-0.efi".into() };
    assert_eq!(steps.last(), Some(&expect));
}

#[test]
fn updates_without_a_fallback_are_rejected() {
    let good = machine(&[("k_2.0.0.efi", OLD)]);
    let plan_error = |machine: &BootState, release: &Release| machine.plan_install(release).unwrap_err();
    assert_eq!(
        plan_error(&machine(&[("k_2.0.0+2-1.efi", OLD)]), &version("3.0.0")),
        PlanError::RunningNotGood("2.0.0".parse().unwrap())
    );
    assert_eq!(plan_error(&machine(&[]), &version("3.0.0")), PlanError::NoEntry);
    assert_eq!(plan_error(&machine(&[("k_2.0.0.efi", OTHER)]), &version("3.0.0")), PlanError::NoEntry);
    let elsewhere = BootState { running: Digest([9; 32]), ..good.clone() };
    assert_eq!(plan_error(&elsewhere, &version("3.0.0")), PlanError::NoSlot);
    let twins = BootState { slots: [slot('a', OLD), slot('b', OLD)], ..good.clone() };
    assert_eq!(plan_error(&twins, &version("3.0.0")), PlanError::NoSlot);
    let mut same = version("3.0.0");
    same.images.verity.root_hash = OLD;
    assert_eq!(plan_error(&good, &same), PlanError::Running(same.version.clone()));
    let full = BootState { esp_free: 1 << 20, ..good.clone() };
    assert!(matches!(plan_error(&full, &version("3.0.0")), PlanError::BootPartitionFull { .. }));
    // Images that are removed first count as free space.
    let two = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    BootState { esp_free: 1 << 20, ..two }.plan_install(&version("3.0.0")).unwrap();
    let mut big = version("3.0.0");
    big.images.usr.size = (1 << 30) + 1;
    assert!(matches!(plan_error(&good, &big), PlanError::SlotTooSmall { slot: 'b', .. }));
}

#[test]
fn a_rollback_boots_the_other_version_first() {
    let check = |entries: &[(&str, Digest)], first: &str| {
        let mut machine = machine(entries);
        let (version, steps) = machine.plan_rollback().unwrap();
        for step in steps {
            let (Step::ActivateEntry { from, to } | Step::SetTries { from, to }) = step else {
                panic!("{step:?}")
            };
            let entry = machine.entries.iter_mut().find(|entry| entry.name.to_string() == from).unwrap();
            entry.name = EntryName::parse("k", &to).unwrap();
        }
        let order = machine.boot_order();
        assert_eq!(order[0].name.to_string(), first, "{entries:?}");
        assert_eq!(order[0].name.version, version);
    };
    check(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)], "k_1.0.0.efi");
    check(&[("k_2.0.0.efi", OLD), ("k_3.0.0+0-0.efi", OTHER)], "k_3.0.0+3-0.efi");
    check(&[("k_2.0.0+1-2.efi", OLD), ("k_1.0.0+0-0.efi", OTHER)], "k_1.0.0+3-0.efi");
    assert_eq!(machine(&[("k_2.0.0.efi", OLD)]).plan_rollback().unwrap_err(), PlanError::NoOtherVersion);
    // Pending, on trial, failed, and good before it failed.
    for file in ["k_3.0.0+3-0.efi", "k_3.0.0+1-2.efi", "k_3.0.0+0-3.efi", "k_3.0.0+0-4.efi"] {
        let refusal = machine(&[("k_2.0.0.efi", OLD), (file, OTHER)]).plan_rollback().unwrap_err();
        assert_eq!(refusal, PlanError::OtherNotGood(Version::new(3, 0, 0)), "{file}");
    }
}

#[test]
fn a_pending_update_can_be_discarded() {
    let pending = machine(&[("k_2.0.0.efi", OLD), ("k_3.0.0+3-0.efi", OTHER)]);
    let remove = |file: &str| Step::RemoveEntry { file: file.into() };
    assert_eq!(pending.plan_discard_pending().unwrap(), [remove("k_3.0.0+3-0.efi")]);
    let older = machine(&[("k_2.0.0+0-0.efi", OLD), ("k_1.0.0+3-0.efi", OTHER)]);
    let back = Step::SetTries { from: "k_2.0.0+0-0.efi".into(), to: "k_2.0.0.efi".into() };
    assert_eq!(older.plan_discard_pending().unwrap(), [back, remove("k_1.0.0+3-0.efi")]);
    // Rolled back on trial: it stays on trial.
    let trial = machine(&[("k_2.0.0+0-1.efi", OLD), ("k_1.0.0+3-0.efi", OTHER)]);
    let back = Step::SetTries { from: "k_2.0.0+0-1.efi".into(), to: "k_2.0.0+2-1.efi".into() };
    assert_eq!(trial.plan_discard_pending().unwrap(), [back, remove("k_1.0.0+3-0.efi")]);
    let nothing = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    assert_eq!(nothing.plan_discard_pending().unwrap(), []);
}

#[test]
fn a_version_fails_when_its_tries_are_used_up_but_not_after_a_rollback() {
    let failed_entries =
        |file: &str| machine(&[("k_2.0.0.efi", OLD), (file, OTHER)]).failed_entries().count();
    assert_eq!(failed_entries("k_3.0.0+0-3.efi"), 1);
    assert_eq!(failed_entries("k_3.0.0+1-2.efi"), 0);
    assert_eq!(failed_entries("k_3.0.0+0-0.efi"), 0);
    assert_eq!(failed_entries("k_3.0.0.efi"), 0);
}
