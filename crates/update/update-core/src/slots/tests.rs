use super::*;
use crate::trust::tests::release;

const OLD: Digest = Digest([1; 32]);
const OTHER: Digest = Digest([2; 32]);

fn entry(file: &str, root: Digest) -> Entry {
    Entry { name: Name::parse("k", file).unwrap(), root_hash: Some(root), bytes: 100 << 20 }
}

fn slot(name: char, root_hash: Digest) -> Slot {
    Slot { name, root_hash, capacity: 1 << 30, verity_capacity: 16 << 20 }
}

/// Runs version 2.0.0 from slot a.
fn machine(entries: &[(&str, Digest)]) -> Machine {
    Machine {
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
fn an_update_goes_to_the_other_slot_and_its_boot_image_comes_last() {
    let machine = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    let root_hash = release().images.verity.root_hash;
    assert_eq!(
        machine.install(&version("3.0.0")).unwrap(),
        [
            Step::RemoveEntry { file: "k_1.0.0.efi".into() },
            Step::Fill { slot: 'b', temporary: TEMPORARY.into() },
            Step::NameSlot { slot: 'b', root_hash },
            Step::PlaceEntry { from: TEMPORARY.into(), to: "k_3.0.0+3-0.efi".into() },
        ]
    );
}

#[test]
fn going_down_what_runs_steps_back_at_the_very_end() {
    let machine = machine(&[("k_2.0.0.efi", OLD)]);
    let steps = machine.install(&version("1.5.0")).unwrap();
    let expect = Step::CountEntry { from: "k_2.0.0.efi".into(), to: "k_2.0.0+0-0.efi".into() };
    assert_eq!(steps.last(), Some(&expect));
}

#[test]
fn what_cannot_be_gone_back_from_is_refused() {
    let good = machine(&[("k_2.0.0.efi", OLD)]);
    let refused = |machine: &Machine, release: &Release| machine.install(release).unwrap_err();
    assert_eq!(
        refused(&machine(&[("k_2.0.0+2-1.efi", OLD)]), &version("3.0.0")),
        Refusal::NotProven("2.0.0".parse().unwrap())
    );
    assert_eq!(refused(&machine(&[]), &version("3.0.0")), Refusal::NoEntry);
    assert_eq!(refused(&machine(&[("k_2.0.0.efi", OTHER)]), &version("3.0.0")), Refusal::NoEntry);
    let elsewhere = Machine { running: Digest([9; 32]), ..good.clone() };
    assert_eq!(refused(&elsewhere, &version("3.0.0")), Refusal::NoSlot);
    let twins = Machine { slots: [slot('a', OLD), slot('b', OLD)], ..good.clone() };
    assert_eq!(refused(&twins, &version("3.0.0")), Refusal::NoSlot);
    let mut same = version("3.0.0");
    same.images.verity.root_hash = OLD;
    assert_eq!(refused(&good, &same), Refusal::Running(same.version.clone()));
    let full = Machine { esp_free: 1 << 20, ..good.clone() };
    assert!(matches!(refused(&full, &version("3.0.0")), Refusal::BootPartitionFull { .. }));
    // Images that are removed first count as free space.
    let two = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    Machine { esp_free: 1 << 20, ..two }.install(&version("3.0.0")).unwrap();
    let mut big = version("3.0.0");
    big.images.usr.size = (1 << 30) + 1;
    assert!(matches!(refused(&good, &big), Refusal::SlotTooSmall { slot: 'b', .. }));
}

#[test]
fn rolling_back_makes_the_other_version_first() {
    let check = |entries: &[(&str, Digest)], first: &str| {
        let mut machine = machine(entries);
        let (version, steps) = machine.roll_back().unwrap();
        for step in steps {
            let (Step::PlaceEntry { from, to } | Step::CountEntry { from, to }) = step else {
                panic!("{step:?}")
            };
            let entry = machine.entries.iter_mut().find(|entry| entry.name.to_string() == from).unwrap();
            entry.name = Name::parse("k", &to).unwrap();
        }
        let order = machine.boot_order();
        assert_eq!(order[0].name.to_string(), first, "{entries:?}");
        assert_eq!(order[0].name.version, version);
    };
    check(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)], "k_1.0.0.efi");
    check(&[("k_2.0.0.efi", OLD), ("k_3.0.0+0-0.efi", OTHER)], "k_3.0.0+3-0.efi");
    check(&[("k_2.0.0+1-2.efi", OLD), ("k_1.0.0+0-0.efi", OTHER)], "k_1.0.0+3-0.efi");
    assert_eq!(machine(&[("k_2.0.0.efi", OLD)]).roll_back().unwrap_err(), Refusal::NothingElse);
    // Pending, on trial, failed, and good before it failed.
    for file in ["k_3.0.0+3-0.efi", "k_3.0.0+1-2.efi", "k_3.0.0+0-3.efi", "k_3.0.0+0-4.efi"] {
        let refusal = machine(&[("k_2.0.0.efi", OLD), (file, OTHER)]).roll_back().unwrap_err();
        assert_eq!(refusal, Refusal::OtherNotGood(Version::new(3, 0, 0)), "{file}");
    }
}

#[test]
fn an_update_that_was_not_booted_yet_can_be_forgotten() {
    let pending = machine(&[("k_2.0.0.efi", OLD), ("k_3.0.0+3-0.efi", OTHER)]);
    let remove = |file: &str| Step::RemoveEntry { file: file.into() };
    assert_eq!(pending.forget_pending().unwrap(), [remove("k_3.0.0+3-0.efi")]);
    let older = machine(&[("k_2.0.0+0-0.efi", OLD), ("k_1.0.0+3-0.efi", OTHER)]);
    let back = Step::CountEntry { from: "k_2.0.0+0-0.efi".into(), to: "k_2.0.0.efi".into() };
    assert_eq!(older.forget_pending().unwrap(), [back, remove("k_1.0.0+3-0.efi")]);
    // Rolled back on trial: it stays on trial.
    let trial = machine(&[("k_2.0.0+0-1.efi", OLD), ("k_1.0.0+3-0.efi", OTHER)]);
    let back = Step::CountEntry { from: "k_2.0.0+0-1.efi".into(), to: "k_2.0.0+2-1.efi".into() };
    assert_eq!(trial.forget_pending().unwrap(), [back, remove("k_1.0.0+3-0.efi")]);
    let nothing = machine(&[("k_2.0.0.efi", OLD), ("k_1.0.0.efi", OTHER)]);
    assert_eq!(nothing.forget_pending().unwrap(), []);
}

#[test]
fn a_version_failed_when_its_tries_are_used_up_and_not_when_it_stepped_back() {
    let failed = |file: &str| machine(&[("k_2.0.0.efi", OLD), (file, OTHER)]).failed().count();
    assert_eq!(failed("k_3.0.0+0-3.efi"), 1);
    assert_eq!(failed("k_3.0.0+1-2.efi"), 0);
    assert_eq!(failed("k_3.0.0+0-0.efi"), 0);
    assert_eq!(failed("k_3.0.0.efi"), 0);
}
