//! Machines that follow sets of keys, and those that are shown sets which are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use folder_machine::{Machine, Releases, releases};
use release::{MAX_KEY_SET, Role, files};
use release_folder::{Change, Replace, Secret, begin, copy, rotate};
use tempfile::TempDir;
use update_engine::{Done, now};

use crate::server::{Fault, Server};
use crate::{check, installed, run};

const YEAR: u64 = 365 * 86_400;

/// An operator's folder of keys, whose release and channel keys are the releases' own, and a folder with a release.
struct Operator {
    keys: TempDir,
    release: TempDir,
    /// As long as the operator lives, or others are made.
    releases: Arc<Releases>,
}

impl Operator {
    fn new() -> Self {
        let (keys, release) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let releases = releases();
        for file in ["release.key", "channel.key", "release/test.pub", "channel/test.pub"] {
            put(&keys.path().join(file), &fs::read(releases.keys.join(file)).unwrap());
        }
        begin(keys.path(), now() - 100, now() + YEAR).unwrap();
        for entry in fs::read_dir(&releases.full_only.folder).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), release.path().join(entry.file_name())).unwrap();
        }
        Self { keys, release, releases }
    }

    /// The release as it was made, signed by the first key.
    fn without_sets(&self) -> &Path {
        &self.releases.full_only.folder
    }

    fn machine(&self) -> Machine {
        let machine = Machine::new();
        machine.pin(&self.set(1));
        machine
    }

    fn set(&self, epoch: u64) -> Vec<u8> {
        fs::read(self.keys.path().join(files::keys(epoch))).unwrap()
    }

    fn replace(&self, role: Role) {
        let change =
            Change { replace: vec![Replace { role, file: role.name().into() }], ..Change::default() };
        assert!(rotate(self.keys.path(), &change, now(), now() + YEAR).unwrap().is_complete());
    }

    /// The sets stand beside the release.
    fn hand_out(&self) {
        copy(self.keys.path(), self.release.path()).unwrap();
    }

    /// The release is signed by whoever signs releases now.
    fn sign(&self) {
        let bytes = fs::read(self.release.path().join(files::RELEASE)).unwrap();
        let secret = Secret::read(&self.keys.path().join("release.key")).unwrap();
        let signature = secret.sign(&bytes, "about").unwrap();
        fs::write(self.release.path().join(files::RELEASE_SIGNATURE), signature).unwrap();
    }

    fn server(&self) -> Server {
        Server::new(self.release.path().to_owned(), self.keys.path().to_owned(), Fault::None)
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn apply(machine: &Machine, folder: &Path) -> Result<(), String> {
    let output = run(machine, &["apply", folder.to_str().unwrap()]);
    machine.assert_sound();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[track_caller]
fn refused(machine: &Machine, folder: &Path, expect: &str) {
    let error = apply(machine, folder).unwrap_err();
    assert!(error.contains(expect), "{error}");
    assert_eq!(machine.next(), "keelson_2.0.0.efi");
}

/// The number of the set that counts.
fn counts(machine: &Machine) -> u64 {
    let output = run(machine, &["keys", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    value["set"]["epoch"].as_u64().unwrap()
}

#[test]
fn a_machine_follows_and_a_revoked_key_signs_nothing_more() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.hand_out();
    assert_eq!(counts(&machine), 1);
    refused(&machine, operator.release.path(), "release.json: no trusted key made this signature");
    assert_eq!(counts(&machine), 2);
    // The image still has the key's file, and what comes without a set is judged by the one that was seen.
    assert!(machine.path("usr/share/keelson/keys/release/test.pub").exists());
    refused(&machine, operator.without_sets(), "release.json: no trusted key made this signature");
    let shown = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(shown.starts_with("Set 2, counts until 20") && shown.contains("release  test.e2"), "{shown}");
    operator.sign();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn one_file_brings_its_sets_along() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.hand_out();
    operator.sign();
    let made = release_folder::Made {
        folder: operator.release.path().to_owned(),
        release: operator.releases.full_only.release.clone(),
    };
    let bundle = machine.path("keelson-3.kup");
    made.bundle(&bundle).unwrap();
    apply(&machine, &bundle).unwrap();
    assert_eq!((counts(&machine), machine.next().as_str()), (2, "keelson_3.0.0+3-0.efi"));
}

#[test]
fn a_machine_that_slept_follows_two_sets_and_forgets_what_a_stolen_key_made_it_see() {
    let operator = Operator::new();
    let machine = operator.machine();
    // As if the stolen keys had signed these numbers: nothing honest is newer, and all is out of date.
    let huge = format!(r#"{{"keys":1,"epoch":{0},"version":"99999.0.0","issued":{0}}}"#, u64::MAX / 4);
    put(&machine.path("var/lib/keelson/update/trust.json"), huge.as_bytes());
    let server = operator.server();
    let failure = check(&machine, &server).done.unwrap_err();
    assert!(failure.message.contains("counted until"), "{failure}");
    operator.replace(Role::Release);
    operator.replace(Role::Channel);
    operator.hand_out();
    operator.sign();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.done);
    assert_eq!(counts(&machine), 3);
    machine.assert_sound();
    let trust = fs::read_to_string(machine.path("var/lib/keelson/update/trust.json")).unwrap();
    assert!(trust.contains("\"keys\": 3") && !trust.contains("99999"), "{trust}");
}

#[test]
fn sets_come_with_an_offer_that_is_nothing_new() {
    let operator = Operator::new();
    let machine = operator.machine();
    let server = operator.server();
    assert!(installed(&check(&machine, &server)));
    assert_eq!(counts(&machine), 1);
    operator.replace(Role::Release);
    operator.hand_out();
    let checked = check(&machine, &server);
    assert!(matches!(checked.done, Ok(Done::UpToDate(None))), "{:?}", checked.done);
    assert_eq!(counts(&machine), 2);
}

#[test]
fn sets_that_are_none_change_nothing() {
    let operator = Operator::new();
    operator.replace(Role::Release);
    operator.replace(Role::Release);
    let keys = operator.keys.path();
    let [two, three] = [2, 3].map(|epoch| operator.set(epoch));
    let [by_two, by_three] = [2, 3].map(|epoch| fs::read(keys.join(files::keys_signatures(epoch))).unwrap());
    let lines = |count: usize| -> Vec<u8> {
        let text = String::from_utf8(by_two.clone()).unwrap();
        text.lines().take(count).flat_map(|line| [line, "\n"]).collect::<String>().into_bytes()
    };
    let mut changed = two.clone();
    changed[200] ^= 1;
    let twice = [lines(4), lines(4), lines(4)].concat();
    for (set, signatures, expect) in [
        (&two, lines(4), "key set 2 wants 2 root keys of set 1 that signed it, and has root-1"),
        (&two, twice, "key set 2 wants 2 root keys of set 1 that signed it, and has root-1"),
        (&two, Vec::new(), "that signed it, and has none"),
        (&two, by_three.clone(), "that signed it, and has none"),
        (&changed, by_two.clone(), "that signed it, and has none"),
        (&three, by_three.clone(), "behind key set 1 comes 2, and this is 3"),
        (&operator.set(1), fs::read(keys.join("keys.1.json.sig")).unwrap(), "comes 2, and this is 1"),
        (&b"garbage".to_vec(), by_two.clone(), "that signed it, and has none"),
        (&vec![b' '; MAX_KEY_SET + 1], by_two.clone(), "has more than 16384 bytes"),
        (
            &two,
            b"nonsense".to_vec(),
            "the signatures of key set 2: the signature is not in minisign's format",
        ),
    ] {
        let machine = operator.machine();
        put(&operator.release.path().join("keys.2.json"), set);
        put(&operator.release.path().join("keys.2.json.sig"), &signatures);
        refused(&machine, operator.release.path(), expect);
        assert_eq!(counts(&machine), 1, "{expect}");
        assert!(!machine.path("var/lib/keelson/update/keys.json").exists(), "{expect}");
    }
    // What set 1 names counts on.
    let machine = operator.machine();
    apply(&machine, operator.without_sets()).unwrap();
}

#[test]
fn a_set_that_is_out_of_date_is_not_followed_and_one_that_counts_ends() {
    let operator = Operator::new();
    let machine = operator.machine();
    rotate(operator.keys.path(), &Change::default(), now() - 50, now() - 10).unwrap();
    operator.hand_out();
    refused(&machine, operator.release.path(), "key set 2 counted until");
    assert_eq!(counts(&machine), 1);
    // As an image has it that is older than its set's time.
    machine.pin(&operator.set(2));
    refused(&machine, operator.without_sets(), "key set 2 counted until");
    // The next set is how that ends.
    rotate(operator.keys.path(), &Change::default(), now(), now() + YEAR).unwrap();
    operator.hand_out();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(counts(&machine), 3);
}

#[test]
fn a_newer_set_of_an_image_counts_and_an_older_one_does_not() {
    let operator = Operator::new();
    let machine = operator.machine();
    for _ in 0..3 {
        operator.replace(Role::Release);
    }
    let only = |epoch: u64| -> PathBuf {
        let folder = operator.keys.path().join(format!("only-{epoch}"));
        for name in [files::keys(epoch), files::keys_signatures(epoch)] {
            put(&folder.join(&name), &fs::read(operator.keys.path().join(&name)).unwrap());
        }
        folder
    };
    // There is no release: the sets count all the same.
    apply(&machine, &only(2)).unwrap_err();
    assert_eq!(counts(&machine), 2);
    machine.pin(&operator.set(3));
    assert_eq!(counts(&machine), 3);
    apply(&machine, &only(2)).unwrap_err();
    machine.pin(&operator.set(1));
    assert_eq!(counts(&machine), 3, "the image that had set 3 is not booted any more");
    apply(&machine, &only(4)).unwrap_err();
    assert_eq!(counts(&machine), 4);
    // Taken away by hand, the set is gone; that it counted is not.
    put(
        &machine.path("var/lib/keelson/update/trust.json"),
        br#"{"keys":4,"epoch":0,"version":null,"issued":0}"#,
    );
    fs::remove_file(machine.path("var/lib/keelson/update/keys.json")).unwrap();
    refused(
        &machine,
        operator.without_sets(),
        "key set 4 counted here, and of it nothing is left but its number: set 1",
    );
}

#[test]
fn an_image_without_a_set_follows_none_and_an_operator_s_own_keys_stay_theirs() {
    let operator = Operator::new();
    operator.replace(Role::Release);
    operator.hand_out();
    let machine = Machine::new();
    apply(&machine, operator.release.path()).unwrap();
    assert!(!machine.path("var/lib/keelson/update/keys.json").exists());
    let shown = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(shown.starts_with("No set"), "{shown}");
    // The revoked key is one that this machine's operator names.
    let machine = operator.machine();
    refused(&machine, operator.release.path(), "no trusted key");
    machine.settings("GROUP=alpha\nALLOW_LOCAL_KEYS=yes\n");
    let key = fs::read(operator.releases.keys.join("release/test.pub")).unwrap();
    put(&machine.path("etc/keelson/keys.d/release/mine.pub"), &key);
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(counts(&machine), 2);
}

#[test]
fn a_damaged_set_stops_updates_and_is_told() {
    let operator = Operator::new();
    let machine = operator.machine();
    put(&machine.path("var/lib/keelson/update/keys.json"), b"{");
    refused(&machine, operator.release.path(), "keys.json is not what was written there");
    fs::remove_file(machine.path("var/lib/keelson/update/keys.json")).unwrap();
    machine.pin(b"{");
    refused(&machine, operator.release.path(), "the image's own, is no set of keys");
}
