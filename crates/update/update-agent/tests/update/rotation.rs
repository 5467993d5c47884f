//! Rotation of key sets, and invalid sets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use folder_machine::{Machine, Releases, releases};
use release::{MAX_KEY_SET, Role, files};
use release_folder::{Change, FirstSet, Replace, SigningKey, copy_sets, create_first_set, rotate};
use tempfile::TempDir;
use update_engine::{Outcome, now};

use crate::server::{Fault, Server};
use crate::{check, installed, run};

const YEAR: u64 = 365 * 86_400;

/// An operator's key folder, with the release and channel keys of the shared releases, and a release folder.
struct Operator {
    keys: TempDir,
    release: TempDir,
    /// Keeps the shared releases alive.
    releases: Arc<Releases>,
}

impl Operator {
    fn new() -> Self {
        let (keys, release) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let releases = releases();
        for file in ["release.key", "server/channel.key", "release/test.pub", "channel/test.pub"] {
            write_file(&keys.path().join(file), &fs::read(releases.keys.join(file)).unwrap());
        }
        let first = FirstSet { issued: now() - 100, expires: now() + YEAR, ..FirstSet::default() };
        create_first_set(keys.path(), &first).unwrap();
        for entry in fs::read_dir(&releases.full_only.folder).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), release.path().join(entry.file_name())).unwrap();
        }
        Self { keys, release, releases }
    }

    /// The original release, signed by the first key.
    fn without_key_sets(&self) -> &Path {
        &self.releases.full_only.folder
    }

    fn machine(&self) -> Machine {
        let machine = Machine::new();
        machine.set_image_key_set(&self.set(1));
        machine
    }

    fn set(&self, epoch: u64) -> Vec<u8> {
        fs::read(self.keys.path().join(files::keys(epoch))).unwrap()
    }

    fn replace(&self, role: Role) {
        let change =
            Change { replace: vec![Replace { role, file: role.name().into() }], ..Change::default() };
        assert!(rotate(self.keys.path(), &change, &mut None, now(), now() + YEAR).unwrap().is_complete());
    }

    /// Copies the key sets to the release.
    fn copy_key_sets(&self) {
        copy_sets(self.keys.path(), self.release.path()).unwrap();
    }

    /// Signs the release with the current release key.
    fn sign(&self) {
        let bytes = fs::read(self.release.path().join(files::RELEASE)).unwrap();
        let secret = SigningKey::read(&self.keys.path().join("release.key")).unwrap();
        let signature = secret.sign(&bytes, "about").unwrap();
        fs::write(self.release.path().join(files::RELEASE_SIGNATURE), signature).unwrap();
    }

    fn server(&self) -> Server {
        Server::new(self.release.path().to_owned(), self.keys.path().to_owned(), Fault::None)
    }
}

fn write_file(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn apply(machine: &Machine, folder: &Path) -> Result<(), String> {
    let output = run(machine, &["apply", folder.to_str().unwrap()]);
    machine.assert_bootable();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[track_caller]
fn assert_rejected(machine: &Machine, folder: &Path, expect: &str) {
    let error = apply(machine, folder).unwrap_err();
    assert!(error.contains(expect), "{error}");
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
}

/// Epoch of the key set in force.
fn key_set_epoch(machine: &Machine) -> u64 {
    let output = run(machine, &["keys", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    value["set"]["epoch"].as_u64().unwrap()
}

#[test]
fn a_revoked_key_is_rejected_after_a_rotation() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.copy_key_sets();
    assert_eq!(key_set_epoch(&machine), 1);
    assert_rejected(&machine, operator.release.path(), "release.json: no trusted key made this signature");
    assert_eq!(key_set_epoch(&machine), 2);
    // The image still contains the revoked key. A release without key sets is verified by the newest known set.
    assert!(machine.path("usr/share/keelson/keys/release/test.pub").exists());
    assert_rejected(
        &machine,
        operator.without_key_sets(),
        "release.json: no trusted key made this signature",
    );
    let output = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(output.starts_with("Set 2, expires 20") && output.contains("release  test.e2"), "{output}");
    operator.sign();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn a_bundle_contains_its_key_sets() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.copy_key_sets();
    operator.sign();
    let made = release_folder::BuiltRelease {
        folder: operator.release.path().to_owned(),
        release: operator.releases.full_only.release.clone(),
    };
    let bundle = machine.path("keelson-3.kup");
    made.bundle(&bundle).unwrap();
    apply(&machine, &bundle).unwrap();
    assert_eq!((key_set_epoch(&machine), machine.next_boot().as_str()), (2, "keelson_3.0.0+3-0.efi"));
}

#[test]
fn two_rotations_reset_values_signed_by_stolen_keys() {
    let operator = Operator::new();
    let machine = operator.machine();
    // As if the stolen keys had signed these values: no honest release is newer.
    let huge = format!(r#"{{"keys":1,"epoch":{0},"version":"99999.0.0","issued":{0}}}"#, u64::MAX / 4);
    write_file(&machine.path("var/lib/keelson/update/trust.json"), huge.as_bytes());
    let server = operator.server();
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("of the signing keys, but epoch"), "{failure}");
    operator.replace(Role::Release);
    operator.replace(Role::Channel);
    operator.copy_key_sets();
    operator.sign();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    assert_eq!(key_set_epoch(&machine), 3);
    machine.assert_bootable();
    let trust = fs::read_to_string(machine.path("var/lib/keelson/update/trust.json")).unwrap();
    assert!(trust.contains("\"keys\": 3") && !trust.contains("99999"), "{trust}");
}

#[test]
fn key_sets_are_accepted_without_an_update() {
    let operator = Operator::new();
    let machine = operator.machine();
    let server = operator.server();
    assert!(installed(&check(&machine, &server)));
    assert_eq!(key_set_epoch(&machine), 1);
    operator.replace(Role::Release);
    operator.copy_key_sets();
    let checked = check(&machine, &server);
    assert!(matches!(checked.outcome, Ok(Outcome::UpToDate(None))), "{:?}", checked.outcome);
    assert_eq!(key_set_epoch(&machine), 2);
}

#[test]
fn invalid_key_sets_change_nothing() {
    let operator = Operator::new();
    operator.replace(Role::Release);
    operator.replace(Role::Release);
    let keys = operator.keys.path();
    let [two, three] = [2, 3].map(|epoch| operator.set(epoch));
    let [by_two, by_three] = [2, 3].map(|epoch| fs::read(keys.join(files::keys_signatures(epoch))).unwrap());
    let format_status = |count: usize| -> Vec<u8> {
        let text = String::from_utf8(by_two.clone()).unwrap();
        text.lines().take(count).flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
    };
    let mut changed = two.clone();
    changed[200] ^= 1;
    let twice = [format_status(4), format_status(4), format_status(4)].concat();
    for (set, signatures, expect) in [
        (&two, format_status(4), "key set 2 needs signatures by 2 root keys of set 1, and has root-1"),
        (&two, twice, "key set 2 needs signatures by 2 root keys of set 1, and has root-1"),
        (&two, Vec::new(), "root keys of set 1, and has none"),
        (&two, by_three.clone(), "root keys of set 1, and has none"),
        (&changed, by_two.clone(), "root keys of set 1, and has none"),
        (&three, by_three.clone(), "key set 1 must be followed by set 2, not by 3"),
        (&operator.set(1), fs::read(keys.join("keys.1.json.sig")).unwrap(), "followed by set 2, not by 1"),
        (&b"garbage".to_vec(), by_two.clone(), "root keys of set 1, and has none"),
        (&vec![b' '; MAX_KEY_SET + 1], by_two.clone(), "has more than 16384 bytes"),
        (
            &two,
            b"nonsense".to_vec(),
            "invalid signatures of key set 2: the signature is not in minisign's format",
        ),
    ] {
        let machine = operator.machine();
        write_file(&operator.release.path().join("keys.2.json"), set);
        write_file(&operator.release.path().join("keys.2.json.sig"), &signatures);
        assert_rejected(&machine, operator.release.path(), expect);
        assert_eq!(key_set_epoch(&machine), 1, "{expect}");
        assert!(!machine.path("var/lib/keelson/update/keys.2.json").exists(), "{expect}");
    }
    // The keys of set 1 stay in force.
    let machine = operator.machine();
    apply(&machine, operator.without_key_sets()).unwrap();
}

#[test]
fn expired_key_sets_are_rejected_and_expire_in_force() {
    let operator = Operator::new();
    let machine = operator.machine();
    rotate(operator.keys.path(), &Change::default(), &mut None, now() - 50, now() - 10).unwrap();
    operator.copy_key_sets();
    assert_rejected(&machine, operator.release.path(), "key set 2 expired at");
    assert_eq!(key_set_epoch(&machine), 1);
    // An image that is older than the expiry of its key set.
    machine.set_image_key_set(&operator.set(2));
    assert_rejected(&machine, operator.without_key_sets(), "key set 2 expired at");
    // The next set resolves that.
    rotate(operator.keys.path(), &Change::default(), &mut None, now(), now() + YEAR).unwrap();
    operator.copy_key_sets();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(key_set_epoch(&machine), 3);
}

#[test]
fn a_newer_key_set_of_an_image_wins_and_an_older_one_does_not() {
    let operator = Operator::new();
    let machine = operator.machine();
    for _ in 0..3 {
        operator.replace(Role::Release);
    }
    let only = |epoch: u64| -> PathBuf {
        let folder = operator.keys.path().join(format!("only-{epoch}"));
        for name in [files::keys(epoch), files::keys_signatures(epoch)] {
            write_file(&folder.join(&name), &fs::read(operator.keys.path().join(&name)).unwrap());
        }
        folder
    };
    // Key sets are accepted even without a release.
    apply(&machine, &only(2)).unwrap_err();
    assert_eq!(key_set_epoch(&machine), 2);
    machine.set_image_key_set(&operator.set(3));
    assert_eq!(key_set_epoch(&machine), 3);
    apply(&machine, &only(2)).unwrap_err();
    // The image that had set 3 is not booted any more: the keys that it revoked are not accepted again.
    machine.set_image_key_set(&operator.set(1));
    assert_eq!(key_set_epoch(&machine), 2);
    assert_rejected(&machine, operator.without_key_sets(), "no trusted key made this signature");
    fs::remove_file(machine.path("var/lib/keelson/update/keys.2.json")).unwrap();
    assert_rejected(
        &machine,
        operator.without_key_sets(),
        "key set 3 was in force on this machine, but the sets that lead to it are lost: set 1 is known",
    );
    operator.copy_key_sets();
    operator.sign();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(key_set_epoch(&machine), 4);
}

/// Root on a machine must not be able to replace its keys for good: the next image has the vendor's.
#[test]
fn a_key_set_of_an_intruder_is_not_in_force() {
    let operator = Operator::new();
    let machine = operator.machine();
    let intruder = Operator::new();
    intruder.replace(Role::Release);
    intruder.copy_key_sets();
    intruder.sign();
    let state = machine.path("var/lib/keelson/update");
    // Versions 0.1 accepted this file.
    write_file(&state.join("keys.json"), &intruder.set(2));
    assert_rejected(&machine, intruder.release.path(), "key set 2 needs signatures by 2 root keys of set 1");
    assert_eq!(key_set_epoch(&machine), 1);
    for name in [files::keys(2), files::keys_signatures(2)] {
        write_file(&state.join(&name), &fs::read(intruder.keys.path().join(&name)).unwrap());
    }
    assert_rejected(&machine, intruder.release.path(), "key set 2 needs signatures by 2 root keys of set 1");
    let failure = check(&machine, &intruder.server()).outcome.unwrap_err();
    assert!(failure.message.contains("remove keys.*.json"), "{failure}");
}

#[test]
fn an_image_without_a_key_set_accepts_none_and_local_keys_stay_trusted() {
    let operator = Operator::new();
    operator.replace(Role::Release);
    operator.copy_key_sets();
    let machine = Machine::new();
    apply(&machine, operator.release.path()).unwrap();
    assert!(!machine.path("var/lib/keelson/update/keys.2.json").exists());
    let output = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(output.starts_with("No key set"), "{output}");
    // The operator trusts the revoked key locally.
    let machine = operator.machine();
    assert_rejected(&machine, operator.release.path(), "no trusted key");
    machine.settings("GROUP=alpha\nALLOW_LOCAL_KEYS=yes\n");
    let key = fs::read(operator.releases.keys.join("release/test.pub")).unwrap();
    write_file(&machine.path("etc/keelson/keys.d/release/mine.pub"), &key);
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(key_set_epoch(&machine), 2);
}

#[test]
fn a_damaged_key_set_stops_updates_with_an_error() {
    let operator = Operator::new();
    let machine = operator.machine();
    write_file(&machine.path("var/lib/keelson/update/keys.2.json"), b"{");
    assert_rejected(
        &machine,
        operator.release.path(),
        "var/lib/keelson/update: key set 2 needs signatures by 2 root keys of set 1, and has none; remove keys.*.json",
    );
    fs::remove_file(machine.path("var/lib/keelson/update/keys.2.json")).unwrap();
    machine.set_image_key_set(b"{");
    assert_rejected(&machine, operator.release.path(), "the key set of the image, is invalid");
}
