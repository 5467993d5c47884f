//! Rotation of keys by root metadata, and invalid roots.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use folder_machine::{Machine, Releases, releases};
use release::{Release, files};
use release_folder::{
    Change, FirstRoot, Replace, copy_roots, create_first_root, latest_complete, load_targets, rotate,
    targets_status,
};
use tempfile::TempDir;
use update_core::repository::{TARGETS_FILE, add_release, next_targets};
use update_core::roots::{self, MAX_ROOT, Role};
use update_engine::{Outcome, now};

use crate::repository::{Metadata, signed};
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
        let first = FirstRoot { expires: now() + YEAR, ..FirstRoot::default() };
        create_first_root(keys.path(), &first, &mut None).unwrap();
        for entry in fs::read_dir(&releases.full_only.folder).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), release.path().join(entry.file_name())).unwrap();
        }
        let operator = Self { keys, release, releases };
        operator.copy_roots();
        operator.sign();
        operator
    }

    /// The original release, signed by the first key.
    fn without_roots(&self) -> &Path {
        &self.releases.full_only.folder
    }

    fn machine(&self) -> Machine {
        let machine = Machine::new();
        machine.set_image_root(&self.root(1));
        machine
    }

    fn root(&self, version: u64) -> Vec<u8> {
        fs::read(self.keys.path().join(roots::file(version))).unwrap()
    }

    fn replace(&self, role: Role) {
        let change =
            Change { replace: vec![Replace { role, file: role.name().into() }], ..Change::default() };
        assert!(rotate(self.keys.path(), &change, &mut None, now() + YEAR).unwrap().is_complete());
    }

    /// Copies the roots to the release.
    fn copy_roots(&self) {
        copy_roots(self.keys.path(), self.release.path()).unwrap();
    }

    /// Lists the release, signed with the current release key.
    fn sign(&self) {
        let keys = self.keys.path();
        let bytes = fs::read(self.release.path().join(files::RELEASE)).unwrap();
        let root = latest_complete(keys).unwrap().unwrap();
        let before = load_targets(keys, &root).unwrap();
        let mut targets = next_targets(&root, before.as_ref()).unwrap();
        add_release(&mut targets, &Release::parse(&bytes).unwrap(), &bytes).unwrap();
        let signed = signed(keys, Role::Release, &root, targets);
        for folder in [keys, self.release.path()] {
            fs::write(folder.join(TARGETS_FILE), signed.to_bytes().unwrap()).unwrap();
        }
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

/// Version of the root in force.
fn root_version(machine: &Machine) -> u64 {
    let output = run(machine, &["keys", "--json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    value["root"]["version"].as_u64().unwrap()
}

#[test]
fn a_revoked_key_is_rejected_after_a_rotation() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.copy_roots();
    assert_eq!(root_version(&machine), 1);
    let refused = "targets.json: signed by 0 of 1 keys of role targets";
    assert_rejected(&machine, operator.release.path(), refused);
    assert_eq!(root_version(&machine), 2);
    // The image still has the revoked key. A release without roots is verified by the newest known one.
    assert_rejected(&machine, operator.without_roots(), refused);
    let output = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(
        output.starts_with("Root version 2, expires 20") && output.contains("release  test.v2"),
        "{output}"
    );
    operator.sign();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
}

#[test]
fn a_bundle_contains_its_roots() {
    let operator = Operator::new();
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.copy_roots();
    operator.sign();
    let made = release_folder::BuiltRelease {
        folder: operator.release.path().to_owned(),
        release: operator.releases.full_only.release.clone(),
        targets: targets_status(&operator.release.path().join(TARGETS_FILE)).unwrap(),
    };
    let bundle = machine.path("keelson-3.kup");
    made.bundle(&bundle).unwrap();
    apply(&machine, &bundle).unwrap();
    assert_eq!((root_version(&machine), machine.next_boot().as_str()), (2, "keelson_3.0.0+3-0.efi"));
}

#[test]
fn two_rotations_reset_values_signed_by_stolen_keys() {
    let operator = Operator::new();
    let machine = operator.machine();
    // As if the stolen keys had signed these values: no honest release is newer.
    let huge = format!(r#"{{"root":1,"epoch":{0},"version":"99999.0.0"}}"#, u64::MAX / 4);
    write_file(&machine.path("var/lib/keelson/update/trust.json"), huge.as_bytes());
    let server = operator.server();
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("of the signing keys, but epoch"), "{failure}");
    operator.replace(Role::Release);
    operator.replace(Role::Channel);
    operator.copy_roots();
    operator.sign();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    assert_eq!(root_version(&machine), 3);
    machine.assert_bootable();
    let trust = fs::read_to_string(machine.path("var/lib/keelson/update/trust.json")).unwrap();
    assert!(trust.contains("\"root\": 3") && !trust.contains("99999"), "{trust}");
}

#[test]
fn roots_are_accepted_without_an_update() {
    let operator = Operator::new();
    let machine = operator.machine();
    let server = operator.server();
    assert!(installed(&check(&machine, &server)));
    assert_eq!(root_version(&machine), 1);
    operator.replace(Role::Release);
    operator.copy_roots();
    let checked = check(&machine, &server);
    assert!(matches!(checked.outcome, Ok(Outcome::UpToDate(None))), "{:?}", checked.outcome);
    assert_eq!(root_version(&machine), 2);
}

#[test]
fn invalid_roots_change_nothing() {
    let operator = Operator::new();
    operator.replace(Role::Release);
    operator.replace(Role::Release);
    let [two, three] = [2, 3].map(|version| operator.root(version));
    let file: serde_json::Value = serde_json::from_slice(&two).unwrap();
    let signatures = |signatures: Vec<&serde_json::Value>| {
        let mut file = file.clone();
        file["signatures"] = signatures.into_iter().cloned().collect();
        serde_json::to_vec(&file).unwrap()
    };
    let by: Vec<_> = file["signatures"].as_array().unwrap().iter().collect();
    let text = String::from_utf8(two.clone()).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let mut padded = two.clone();
    padded.resize(MAX_ROOT + 1, b' ');
    for (root, expect) in [
        (signatures(by[..1].to_vec()), "signed by 1 of 2 keys of role root"),
        (signatures(vec![]), "signed by 0 of 2 keys of role root"),
        (signatures(vec![by[0], by[0]]), "signatures: two of key"),
        (changed("\"threshold\": 2", "\"threshold\": 1"), "signed by 0 of 2 keys of role root"),
        (changed("\"version\": 2", "\"version\": 2, \"version\": 3"), "duplicate field `version`"),
        (changed("\"spec_version\": \"1", "\"spec_version\": \"2"), "supported are versions 1.x"),
        (three, "version 3, expected 2"),
        (operator.root(1), "version 1, expected 2"),
        (b"garbage".to_vec(), "line 1, column 1"),
        (two[..two.len() / 2].to_vec(), "2.root.json: line"),
        (padded, "has more than 65536 bytes"),
    ] {
        let machine = operator.machine();
        write_file(&operator.release.path().join(roots::file(2)), &root);
        assert_rejected(&machine, operator.release.path(), expect);
        assert_eq!(root_version(&machine), 1, "{expect}");
        assert!(!machine.path("var/lib/keelson/update/2.root.json").exists(), "{expect}");
    }
    // The keys of root 1 stay in force.
    let machine = operator.machine();
    apply(&machine, operator.without_roots()).unwrap();
}

#[test]
fn expired_roots_are_rejected_and_expire_in_force() {
    let operator = Operator::new();
    let machine = operator.machine();
    rotate(operator.keys.path(), &Change::default(), &mut None, now() - 10).unwrap();
    operator.copy_roots();
    assert_rejected(&machine, operator.release.path(), "cannot accept 2.root.json: expired at");
    // As the specification metadata: it is in force, and only its successor is accepted.
    assert_eq!(root_version(&machine), 2);
    // An image that is older than the expiry of its root.
    machine.set_image_root(&operator.root(2));
    assert_rejected(&machine, operator.without_roots(), "cannot accept trusted root: expired at");
    // The next root resolves that.
    rotate(operator.keys.path(), &Change::default(), &mut None, now() + YEAR).unwrap();
    operator.copy_roots();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(root_version(&machine), 3);
}

#[test]
fn a_newer_root_of_an_image_wins_and_an_older_one_does_not() {
    let operator = Operator::new();
    let machine = operator.machine();
    for _ in 0..3 {
        operator.replace(Role::Release);
    }
    let only = |version: u64| -> PathBuf {
        let folder = operator.keys.path().join(format!("only-{version}"));
        write_file(&folder.join(roots::file(version)), &operator.root(version));
        folder
    };
    // Roots are accepted even without a release.
    apply(&machine, &only(2)).unwrap_err();
    assert_eq!(root_version(&machine), 2);
    machine.set_image_root(&operator.root(3));
    assert_eq!(root_version(&machine), 3);
    apply(&machine, &only(2)).unwrap_err();
    // The image that had root 3 is not booted any more: the keys that it revoked are not accepted again.
    machine.set_image_root(&operator.root(1));
    assert_eq!(root_version(&machine), 2);
    assert_rejected(&machine, operator.without_roots(), "signed by 0 of 1 keys of role targets");
    fs::remove_file(machine.path("var/lib/keelson/update/2.root.json")).unwrap();
    assert_rejected(
        &machine,
        operator.without_roots(),
        "root version 3 was in force on this machine, but the roots that lead to it are lost: version 1 is known",
    );
    operator.copy_roots();
    operator.sign();
    apply(&machine, operator.release.path()).unwrap();
    assert_eq!(root_version(&machine), 4);
}

/// Root on a machine must not be able to replace its keys for good: the next image has the vendor's.
#[test]
fn a_root_of_an_intruder_is_not_in_force() {
    let operator = Operator::new();
    let machine = operator.machine();
    let intruder = Operator::new();
    intruder.replace(Role::Release);
    intruder.copy_roots();
    intruder.sign();
    let state = machine.path("var/lib/keelson/update");
    let refused = "2.root.json: signed by 0 of 2 keys of role root";
    write_file(&state.join("root.json"), &intruder.root(2));
    assert_rejected(&machine, intruder.release.path(), refused);
    assert_eq!(root_version(&machine), 1);
    write_file(&state.join(roots::file(2)), &intruder.root(2));
    assert_rejected(&machine, intruder.release.path(), refused);
    let failure = check(&machine, &intruder.server()).outcome.unwrap_err();
    assert!(failure.message.contains("remove *.root.json"), "{failure}");
}

#[test]
fn a_machine_without_a_root_accepts_nothing() {
    let operator = Operator::new();
    let machine = operator.machine();
    fs::remove_file(machine.path("usr/share/keelson/keys/root.json")).unwrap();
    assert_rejected(&machine, operator.release.path(), "a machine without one accepts no updates");
    let failure = check(&machine, &operator.server()).outcome.unwrap_err();
    assert!(failure.message.contains("there is no trusted root"), "{failure}");
    let output = run(&machine, &["keys"]);
    assert_eq!(output.status.code(), Some(1));
}

/// Instead of the image's, with a state of its own.
#[test]
fn an_operator_may_use_a_root_of_their_own() {
    let (operator, other) = (Operator::new(), Operator::new());
    let machine = operator.machine();
    operator.replace(Role::Release);
    operator.copy_roots();
    operator.sign();
    // Without the setting it is not used.
    write_file(&machine.path("etc/keelson/keys.d/root.json"), &other.root(1));
    other.replace(Role::Release);
    other.copy_roots();
    other.sign();
    assert_rejected(&machine, other.release.path(), "2.root.json: signed by 0 of 2 keys of role root");
    machine.settings("GROUP=alpha\nALLOW_LOCAL_KEYS=yes\n");
    apply(&machine, other.release.path()).unwrap();
    assert_eq!(root_version(&machine), 2);
    assert!(machine.path("var/lib/keelson/update/local/2.root.json").exists());
    let output = String::from_utf8(run(&machine, &["keys"]).stdout).unwrap();
    assert!(output.contains("root in /etc/keelson/keys.d"), "{output}");
    machine.updater().discard_pending().unwrap();
    assert_rejected(&machine, operator.release.path(), "targets.json: signed by 0 of 1 keys of role targets");
    // And back.
    machine.settings("GROUP=alpha\n");
    apply(&machine, operator.release.path()).unwrap();
    assert!(machine.path("var/lib/keelson/update/2.root.json").exists());
}

/// A stolen channel key excludes later metadata until a root replaces it (fast-forward).
#[test]
fn fast_forward_ends_with_the_stolen_key() {
    let operator = Operator::new();
    let machine = operator.machine();
    let server = operator.server();
    let mut metadata = Metadata::honest(operator.release.path(), operator.keys.path());
    metadata.version = u64::MAX / 2;
    server.set(Fault::Serves(metadata.sign(operator.keys.path()).into_iter().collect()));
    check(&machine, &server).confirmed.unwrap().unwrap();
    machine.updater().discard_pending().unwrap();
    server.set(Fault::None);
    let failure = check(&machine, &server).outcome.unwrap_err();
    assert!(failure.message.contains("timestamp.json: rollback: version"), "{failure}");
    operator.replace(Role::Channel);
    operator.copy_roots();
    operator.sign();
    let checked = check(&machine, &server);
    assert!(installed(&checked), "{:?}", checked.outcome);
    machine.assert_bootable();
}

#[test]
fn a_damaged_root_stops_updates_with_an_error() {
    let operator = Operator::new();
    let machine = operator.machine();
    write_file(&machine.path("var/lib/keelson/update/2.root.json"), b"{");
    assert_rejected(
        &machine,
        operator.release.path(),
        "var/lib/keelson/update; remove *.root.json there: the next check fetches the roots again: cannot accept 2.root.json: line 1",
    );
    fs::remove_file(machine.path("var/lib/keelson/update/2.root.json")).unwrap();
    machine.set_image_root(b"{");
    assert_rejected(&machine, operator.release.path(), "invalid root");
}
