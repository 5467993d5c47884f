//! The list of releases, which the release key signs: in the folder of the keys, elsewhere, and interrupted.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::keys::operator::{Operator, PASSWORD};

impl Operator {
    fn shown(&self) -> Value {
        let root: Value = serde_json::from_str(&self.succeed(&["keys", "show", "--json"])).unwrap();
        root["targets"].clone()
    }
}

#[test]
fn the_list_is_signed_with_the_first_root_and_with_each_next_one() {
    let operator = Operator::with_keys();
    let shown = operator.shown();
    assert_eq!(
        (&shown["version"], &shown["signed_by"][0], &shown["current"]),
        (&1.into(), &"own".into(), &true.into())
    );
    let output = operator.succeed(&["keys", "show"]);
    assert!(output.contains("targets version 1, 0 releases, signed by own\n"), "{output}");
    for (key, version, signer) in [("channel", 2, "own"), ("release", 3, "own.v3")] {
        let output = operator.succeed(&["keys", "rotate", "--replace", key]);
        let line = format!("targets version {version}, 0 releases, signed by {signer}\n");
        assert!(output.contains(&line) && output.contains("Next: keelson keys publish"), "{output}");
    }
    assert!(operator.shown()["missing"].is_null());
}

#[test]
fn a_release_key_on_another_medium_signs_the_list_after_a_rotation() {
    let operator = Operator::with_keys();
    let away = operator.home.path().join("release.key");
    fs::rename(operator.keys().join("release.key"), &away).unwrap();
    let next = "Next, with a release key and all roots in the same folder:\n  keelson keys sign targets.json --key FILE\n";
    let output = operator.succeed(&["keys", "rotate", "--replace", "channel"]);
    assert!(output.contains("it is of a root before version 2\n") && output.contains(next), "{output}");
    assert_eq!(operator.shown()["current"], false);
    let path = operator.keys().join("targets.json");
    let sign = ["keys", "sign", path.to_str().unwrap(), "--key"];
    let root_key = operator.keys().join("root-1.key");
    let refused = format!("error: {} is not a release key of root version 2", root_key.display());
    operator.fail(&[&sign[..], &[root_key.to_str().unwrap()]].concat(), 1, &refused);
    let output = operator.succeed(&[&sign[..], &[away.to_str().unwrap()]].concat());
    assert!(output.contains("targets version 2, 0 releases, signed by own\n"), "{output}");
    assert_eq!(operator.shown()["current"], true);
    // Attack: the list of another product.
    let other = Operator::with_keys();
    fs::copy(other.keys().join("targets.json"), &path).unwrap();
    let output = operator.succeed(&["keys", "show"]);
    assert!(output.contains("1 of own (release keys of root version 2) must sign"), "{output}");
}

/// The root lacks a signature: its release key signs the list when the root is complete.
#[test]
fn the_list_follows_a_root_that_is_signed_later() {
    let operator = Operator::with_keys();
    for name in ["root-2.key", "root-3.key"] {
        fs::rename(operator.keys().join(name), operator.home.path().join(name)).unwrap();
    }
    operator.succeed(&["keys", "rotate", "--replace", "release"]);
    let shown = operator.shown();
    assert_eq!((&shown["version"], &shown["signed_by"][0]), (&1.into(), &"own".into()));
    let root = operator.keys().join("2.root.json");
    let output = operator.succeed(&["keys", "sign", root.to_str().unwrap(), "--key", "root-2.key"]);
    assert!(output.contains("targets version 2, 0 releases, signed by own.v2\n"), "{output}");
}

/// Kills the program while it writes the list, after each part of the file.
#[test]
fn a_list_is_the_old_or_the_new_one_after_a_kill() {
    let operator = Operator::new();
    operator.succeed(&["keys", "--no-password"]);
    let away = operator.home.path().join("release.key");
    fs::rename(operator.keys().join("release.key"), &away).unwrap();
    operator.succeed(&["keys", "rotate", "--replace", "channel"]);
    let path = operator.keys().join("targets.json");
    let old = fs::read(&path).unwrap();
    let sign = |limit: usize| {
        let mut command = operator.command("prlimit");
        command.args([&format!("--fsize={limit}"), env!("CARGO_BIN_EXE_keelson"), "keys", "sign"]);
        command.arg(&path).arg("--key").arg(&away).output().unwrap()
    };
    for limit in (1..old.len()).step_by(old.len() / 8) {
        assert_eq!(sign(limit).status.signal(), Some(Signal::SIGXFSZ as i32), "{limit} bytes");
        assert_eq!(fs::read(&path).unwrap(), old);
    }
    assert!(sign(1 << 20).status.success());
    assert_eq!(operator.shown()["current"], true);
}

#[test]
fn roots_for_existing_keys_need_the_password_of_the_release_key() {
    let operator = Operator::with_keys();
    for entry in fs::read_dir(operator.keys()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match name.as_str() {
            "root" => fs::remove_dir_all(entry.path()).unwrap(),
            name if name.starts_with("root-") || name.ends_with(".json") => {
                fs::remove_file(entry.path()).unwrap()
            }
            _ => {}
        }
    }
    let operator = Operator { variable: Some("another"), ..operator };
    let key = operator.keys().join("release.key");
    operator.fail(&["keys", "--roots"], 1, &format!("wrong password for {}", key.display()));
    assert!(!operator.keys().join("root-1.key").exists());
    let operator = Operator { variable: Some(PASSWORD), ..operator };
    operator.succeed(&["keys", "--roots"]);
    assert_eq!(operator.shown()["signed_by"][0], "own");
}
