//! The suite's `test_updater_key_rotations.py`.

use crate::simulator::*;

/// Numbers of the listed keys, the threshold, and numbers of the keys that sign.
type Version<'a> = (&'a [usize], u64, &'a [usize]);

const FIVE: &[usize] = &[0, 1, 2, 3, 4];
const ONE_OTHER: &[usize] = &[0, 1, 3, 4, 5];

fn set(repository: &mut Simulator, keys: &Keys, role: &str, version: Version<'_>) {
    let (listed, threshold, signing) = version;
    let choose = |numbers: &[usize]| numbers.iter().map(|number| keys[*number].clone()).collect::<Keys>();
    repository.set_keys(role, choose(listed), threshold);
    repository.signers.insert(role.to_owned(), choose(signing));
}

/// Whether the last of the versions is accepted.
#[track_caller]
fn root_rotation(versions: &[Version<'_>], accepted: bool) {
    let mut repository = Simulator::new();
    repository.withdraw(ROOT);
    let keys = repository.new_keys(10);
    for version in versions {
        set(&mut repository, &keys, ROOT, *version);
        repository.publish(&[ROOT]);
    }
    let mut machine = Machine::new(&repository);
    let result = machine.refresh(&mut repository);
    let expected = versions.len() as u64 - u64::from(!accepted);
    assert_eq!(machine.version(ROOT), Some(expected), "{result:?}");
    if accepted {
        result.unwrap();
    } else {
        refused(result, "keys of role root");
    }
}

#[test]
fn root_rotation_1_of_1_key_rotation() {
    root_rotation(&[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])], true);
}

#[test]
fn root_rotation_1_of_1_key_rotation_unused_signatures() {
    root_rotation(&[(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])], true);
}

#[test]
fn root_rotation_3_of_5_sign_with_different_keycombos() {
    root_rotation(
        &[(FIVE, 3, &[0, 2, 4]), (FIVE, 3, &[0, 4, 1]), (FIVE, 3, &[0, 1, 3]), (FIVE, 3, &[0, 1, 3])],
        true,
    );
}

#[test]
fn root_rotation_3_of_5_one_key_rotated() {
    root_rotation(&[(FIVE, 3, &[0, 2, 4]), (ONE_OTHER, 3, &[0, 4, 1])], true);
}

#[test]
fn root_rotation_3_of_5_one_key_rotated_with_intermediate_step() {
    root_rotation(&[(FIVE, 3, &[0, 2, 4]), (ONE_OTHER, 3, &[0, 2, 4, 5]), (ONE_OTHER, 3, &[0, 4, 5])], true);
}

#[test]
fn root_rotation_3_of_5_all_keys_rotated_with_intermediate_step() {
    let new = &[5, 6, 7, 8, 9];
    root_rotation(&[(FIVE, 3, &[0, 2, 4]), (new, 3, &[0, 2, 4, 5, 6, 7]), (new, 3, &[5, 6, 7])], true);
}

#[test]
fn root_rotation_1_of_3_threshold_increase_to_2_of_3() {
    root_rotation(&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])], true);
}

#[test]
fn root_rotation_2_of_3_threshold_decrease_to_1_of_3() {
    root_rotation(&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])], true);
}

#[test]
fn root_rotation_1_of_2_threshold_increase_to_2_of_2() {
    root_rotation(&[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])], true);
}

#[test]
fn root_rotation_1_of_1_key_rotation_fail_not_signed_with_old_key() {
    root_rotation(&[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])], false);
}

#[test]
fn root_rotation_1_of_1_key_rotation_fail_not_signed_with_new_key() {
    root_rotation(&[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])], false);
}

#[test]
fn root_rotation_3_of_5_one_key_rotate_fails_not_signed_with_3_new_keys() {
    root_rotation(&[(FIVE, 3, &[0, 2, 4]), (ONE_OTHER, 3, &[0, 2, 4])], false);
}

#[test]
fn root_rotation_3_of_5_one_key_rotate_fails_not_signed_with_3_old_keys() {
    root_rotation(&[(FIVE, 3, &[0, 2, 4]), (ONE_OTHER, 3, &[0, 4, 5])], false);
}

#[test]
fn root_rotation_1_of_3_threshold_bump_to_2_of_3_fails_new_threshold_not_reached() {
    root_rotation(&[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])], false);
}

#[test]
fn root_rotation_2_of_3_threshold_decr_to_1_of_3_fails_old_threshold_not_reached() {
    root_rotation(&[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])], false);
}

/// Rotates the keys of timestamp, snapshot and targets in sequence.
#[track_caller]
fn non_root_rotations(version: Version<'_>, accepted: bool) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    let keys = repository.new_keys(10);
    for role in [TIMESTAMP, SNAPSHOT, TARGETS] {
        set(&mut repository, &keys, role, version);
        repository.publish(&ALL);
        let result = machine.refresh(&mut repository);
        if accepted {
            result.unwrap();
            assert_eq!(machine.store.0[role], *repository.latest(role));
        } else {
            // The timestamp's rotation fails all that follow.
            refused(result, "keys of role timestamp");
            assert_eq!(machine.version(role), None);
        }
    }
}

#[test]
fn non_root_rotations_1_of_1_key_rotation() {
    non_root_rotations((&[2], 1, &[2]), true);
}

#[test]
fn non_root_rotations_1_of_1_key_rotation_unused_signatures() {
    non_root_rotations((&[1], 1, &[3, 1, 4]), true);
}

#[test]
fn non_root_rotations_1_of_1_key_rotation_fail_not_signed_with_new_key() {
    non_root_rotations((&[2], 1, &[1, 3, 4]), false);
}

#[test]
fn non_root_rotations_3_of_5_one_key_signature_wrong_not_signed_with_3_expected_keys() {
    non_root_rotations((ONE_OTHER, 3, &[0, 2, 4]), false);
}

#[test]
fn non_root_rotations_2_of_5_one_key_signature_missing_threshold_not_reached() {
    non_root_rotations((ONE_OTHER, 3, &[0, 4]), false);
}

#[test]
fn non_root_rotations_3_of_5_sign_first_combo() {
    non_root_rotations((FIVE, 3, &[0, 2, 4]), true);
}

#[test]
fn non_root_rotations_3_of_5_sign_second_combo() {
    non_root_rotations((FIVE, 3, &[0, 4, 1]), true);
}

#[test]
fn non_root_rotations_3_of_5_sign_third_combo() {
    non_root_rotations((FIVE, 3, &[0, 1, 3]), true);
}

#[test]
fn non_root_rotations_3_of_5_sign_fourth_combo() {
    non_root_rotations((FIVE, 3, &[1, 2, 3]), true);
}

#[test]
fn non_root_rotations_3_of_5_sign_fifth_combo() {
    non_root_rotations((FIVE, 3, &[2, 3, 4]), true);
}

/// A file that a key which remains signed, too, would survive the rotation otherwise.
#[test]
fn stored_files_end_with_any_of_their_keys() {
    for role in [TIMESTAMP, SNAPSHOT] {
        let mut repository = Simulator::new();
        let mut machine = Machine::new(&repository);
        repository.add_key(role, 1);
        repository.publish(&[ROOT]);
        (0..99).for_each(|_| repository.publish(&[SNAPSHOT, TIMESTAMP]));
        machine.refresh(&mut repository).unwrap();
        let kept = vec![repository.signers[role][0].clone()];
        repository.set_keys(role, kept, 1);
        for role in [SNAPSHOT, TIMESTAMP] {
            repository.withdraw(role);
            repository.set_version(role, 1);
        }
        repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
        machine.refresh(&mut repository).unwrap();
        assert_eq!(machine.versions(), [3, 1, 1, 1]);
    }
}

/// What a crash between two writes leaves: a new root, and files that its keys did not sign.
#[test]
fn files_of_revoked_keys_are_as_good_as_none() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    (0..99).for_each(|_| repository.publish(&UPDATE));
    machine.refresh(&mut repository).unwrap();
    let old = machine.store.clone();
    repository.rotate_key(TIMESTAMP);
    repository.rotate_key(SNAPSHOT);
    for role in UPDATE {
        repository.withdraw(role);
        repository.set_version(role, 1);
    }
    repository.publish(&ALL);
    machine.store = old;
    machine.store.0.insert(ROOT.to_owned(), repository.latest(ROOT).clone());
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [2, 1, 1, 1]);
}

#[test]
fn a_chain_longer_than_the_limit_is_continued_by_the_next_update() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    (0..9).for_each(|_| repository.publish(&[ROOT]));
    machine.limits.roots = 4;
    for expected in [5, 9, 10] {
        machine.refresh(&mut repository).unwrap();
        assert_eq!(machine.version(ROOT), Some(expected));
    }
}
