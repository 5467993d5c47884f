//! Root metadata that lacks a signature, is signed in another place, and is interrupted.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::Value;
use tuf::Root;

use crate::keys::operator::{Operator, names};

impl Operator {
    /// With unencrypted keys and a second root that one root key signed. The other root keys are in the folder `safe`.
    fn with_incomplete_root() -> Self {
        let operator = Self::new();
        operator.succeed(&["keys", "--no-password"]);
        fs::create_dir(operator.home.path().join("safe")).unwrap();
        for name in ["root-2.key", "root-3.key"] {
            fs::rename(operator.keys().join(name), operator.safe(name)).unwrap();
        }
        operator.succeed(&["keys", "rotate"]);
        operator
    }

    fn safe(&self, name: &str) -> PathBuf {
        self.home.path().join("safe").join(name)
    }
}

/// Kills the program while it writes the signed root, after each part of the file.
#[test]
fn a_root_is_the_old_or_the_new_one_after_a_kill() {
    let operator = Operator::with_incomplete_root();
    let path = operator.keys().join("2.root.json");
    let old = fs::read(&path).unwrap();
    let sign = |limit: usize| {
        let mut command = operator.command("prlimit");
        command.args([&format!("--fsize={limit}"), env!("CARGO_BIN_EXE_keelson"), "keys", "sign"]);
        command.arg(&path).arg("--key").arg(operator.safe("root-2.key")).output().unwrap()
    };
    for limit in (1..old.len()).step_by(old.len() / 8) {
        let killed = sign(limit).status.signal();
        assert_eq!(killed, Some(Signal::SIGXFSZ as i32), "the new file has less than {limit} bytes");
        assert_eq!(fs::read(&path).unwrap(), old);
    }
    // What the killed programs left behind disturbs nobody.
    assert!(names(&operator.keys()).iter().any(|name| name.starts_with(".keelson-")));
    assert!(
        operator
            .succeed(&["keys", "show"])
            .contains("1 of root-2, root-3 (root keys of version 1) must sign")
    );
    assert!(sign(1 << 20).status.success());
    assert!(operator.succeed(&["keys", "show"]).contains("signed by root-1, root-2 of root version 1"));
}

#[test]
fn an_image_gets_the_newest_root_once_it_is_signed() {
    let operator = Operator::with_incomplete_root();
    let pinned = operator.home.path().join("os/rootfs/usr/share/keelson/keys/root.json");
    fs::create_dir(operator.home.path().join("os")).unwrap();
    fs::write(operator.home.path().join("os/packages"), "").unwrap();
    operator.fail(&["keys", "pin"], 1, "root version 2 is not fully signed: 1 of root-2, root-3");
    operator.fail(&["keys", "publish"], 1, "root version 2 is not fully signed: 1 of root-2, root-3");
    assert!(!pinned.exists());
    // A copy is signed in another place.
    for name in ["1.root.json", "2.root.json"] {
        fs::copy(operator.keys().join(name), operator.safe(name)).unwrap();
    }
    operator.succeed(&["keys", "sign", "safe/2.root.json", "--key", "safe/root-3.key"]);
    let path = operator.keys().join("2.root.json");
    let path = path.to_str().unwrap();
    operator.fail(&["keys", "sign", path, "--key", "safe/1.root.json"], 1, "is not a minisign secret key");
    let first = format!("error: safe/1.root.json is not a copy of {path}: ");
    operator.fail(&["keys", "sign", path, "--collect", "safe/1.root.json"], 1, &first);
    operator.succeed(&["keys", "sign", path, "--collect", "safe/2.root.json"]);
    operator.succeed(&["keys", "pin"]);
    let root = Root::first(&fs::read(&pinned).unwrap()).unwrap();
    assert_eq!(root.header.version.get(), 2);
}

#[test]
fn the_keys_of_a_root_are_shown_with_their_ids() {
    let operator = Operator::with_incomplete_root();
    let root: Value = serde_json::from_str(&operator.succeed(&["keys", "show", "--json"])).unwrap();
    assert_eq!((&root["root"]["version"], &root["keys"].as_array().unwrap().len()), (&2.into(), &5));
    assert_eq!((&root["signed_by"][0], &root["signed_by_previous"][0]), (&"root-1".into(), &"root-1".into()));
    assert_eq!(root["missing"].as_array().unwrap().len(), 2);
    let output = operator.succeed(&["keys", "show"]);
    assert!(output.contains("\nroot version 2, valid for 109"), "{output}");
    for key in root["keys"].as_array().unwrap() {
        let [role, name, id] = ["role", "name", "id"].map(|field| key[field].as_str().unwrap());
        assert!(root["root"]["keys"][id].is_object(), "{id}");
        let signed = if name == "root-1" { "  signed" } else { "" };
        assert!(output.contains(&format!("\n  {role:<8} {name:<16} {}{signed}\n", &id[..16])), "{output}");
    }
    operator.fail(&["keys", "show", "safe/root-2.key"], 1, "expected N.root.json");
    for days in ["0", "36501"] {
        operator.fail(&["keys", "rotate", "--expires-days", days], 2, "is not in 1..=36500");
    }
    operator.fail(&["keys", "rotate", "--threshold", "0"], 2, "--threshold");
}
