//! Root and release keys on SoftHSM tokens: an operator adds, uses and mistypes them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tuf::Root;

use crate::keys::operator::{Operator, PIN};

/// An operator with unencrypted keys, and the token `safe` with the root keys `alice` and `bob`. `None` if the host has
/// no SoftHSM.
fn operator(test: &str) -> Option<Operator> {
    for program in ["softhsm2-util", "openssl"] {
        let Err(error) = Command::new(program).arg("--version").output() else { continue };
        eprintln!("SKIPPED: {test}: cannot start {program}: {error}");
        return None;
    }
    let mut operator = Operator::new();
    let home = operator.home.path().to_owned();
    fs::create_dir(home.join("tokens")).unwrap();
    let configuration = home.join("softhsm2.conf");
    let tokens = home.join("tokens");
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    operator.softhsm = Some(configuration);
    operator.run_tool("softhsm2-util --init-token --free --label safe --pin 271828 --so-pin 31415926");
    for (label, id) in [("alice", "01"), ("bob", "02")] {
        operator.run_tool("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem");
        operator.run_tool(&format!(
            "softhsm2-util --import key.pem --token safe --label {label} --id {id} --pin 271828"
        ));
    }
    fs::remove_file(home.join("key.pem")).unwrap();
    fs::write(home.join("pin"), format!("{PIN}\n")).unwrap();
    operator.succeed(&["keys", "--no-password"]);
    Some(operator)
}

impl Operator {
    fn run_tool(&self, line: &str) {
        let mut words = line.split(' ');
        let output = self.command(words.next().unwrap()).args(words).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Moves the secret root keys away.
    fn without_root_keys(&self) {
        for number in 1..=3 {
            fs::remove_file(self.keys().join(format!("root-{number}.key"))).unwrap();
        }
    }

    fn root(&self, version: u64) -> Vec<u8> {
        fs::read(self.keys().join(format!("{version}.root.json"))).unwrap()
    }
}

/// The URI of a key, which is typed or read from a file.
fn uri(label: &str, query: &str) -> String {
    format!("pkcs11:token=safe;object={label}?module-name=softhsm2{query}")
}

fn with_pin(operator: &Operator, label: &str) -> String {
    uri(label, &format!("&pin-source=file:{}", operator.home.path().join("pin").display()))
}

fn missing(operator: &Operator) -> Value {
    let shown: Value = serde_json::from_str(&operator.succeed(&["keys", "show", "--json"])).unwrap();
    shown["missing"].clone()
}

#[test]
fn two_root_keys_move_to_a_token_and_sign_the_next_root() {
    let Some(operator) = operator("tokens::two_root_keys_move_to_a_token_and_sign_the_next_root") else {
        return;
    };
    let path = operator.keys().join("2.root.json");
    let path = path.to_str().unwrap();
    // Public keys need no PIN. Two files sign for version 1, and the two keys on the token for version 2.
    let [alice, carol] = [format!("root={}", uri("alice", "")), format!("root/carol={}", uri("bob", ""))];
    let revoked = ["--revoke", "root/root-1", "--revoke", "root/root-2"];
    let output =
        operator.succeed(&[&["keys", "rotate", "--add", &alice, "--add", &carol], &revoked[..]].concat());
    assert!(output.contains("alice") && output.contains("carol"), "{output}");
    assert_eq!(missing(&operator)[0], "1 of alice, carol (root keys of version 2) must sign");
    operator.succeed(&["keys", "sign", path, "--key", &with_pin(&operator, "bob")]);
    let first = Root::first(&operator.root(1)).unwrap();
    let second = first.next(&operator.root(2)).unwrap();
    assert_eq!(second.keys.values().filter(|key| key.scheme == "ecdsa-sha2-nistp256").count(), 2);

    // No secret root key is a file any more.
    operator.without_root_keys();
    let [alice, bob] = ["alice", "bob"].map(|label| with_pin(&operator, label));
    operator.succeed(&["keys", "rotate", "--key", &alice, "--key", &bob]);
    let third = second.next(&operator.root(3)).unwrap();
    let signers: BTreeSet<_> = second.signers_of(&operator.root(3)).unwrap().into_iter().collect();
    assert_eq!((third.header.version.get(), signers.len()), (3, 2));
    assert!(operator.succeed(&["keys", "show"]).contains("signed by alice, carol of root version 2"));
}

/// From then on no file signs a release.
#[test]
fn a_release_key_on_a_token_signs_the_list_of_releases() {
    let Some(operator) = operator("tokens::a_release_key_on_a_token_signs_the_list_of_releases") else {
        return;
    };
    let path = operator.keys().join("targets.json");
    let path = path.to_str().unwrap();
    let add = format!("release={}", uri("alice", ""));
    let output = operator.succeed(&["keys", "rotate", "--add", &add, "--revoke", "release/own"]);
    assert!(output.contains("1 of alice (release keys of root version 2) must sign"), "{output}");
    let file = operator.keys().join("release.key");
    operator.fail(
        &["keys", "sign", path, "--key", file.to_str().unwrap()],
        1,
        "is not a release key of root version 2",
    );
    let bob = with_pin(&operator, "bob");
    operator.fail(&["keys", "sign", path, "--key", &bob], 1, "is not a release key of root version 2");
    let output = operator.succeed(&["keys", "sign", path, "--key", &with_pin(&operator, "alice")]);
    assert!(output.contains(", 0 releases, signed by alice\n"), "{output}");
    let root = Root::first(&operator.root(1)).unwrap().next(&operator.root(2)).unwrap();
    root.targets(&fs::read(path).unwrap(), 0).unwrap();
}

#[test]
fn a_pin_is_typed_once_and_not_shown() {
    let Some(operator) = operator("tokens::a_pin_is_typed_once_and_not_shown") else { return };
    let add = ["alice", "bob"].map(|label| format!("root={}", uri(label, "")));
    operator.succeed(&["keys", "rotate", "--add", &add[0], "--add", &add[1]]);
    operator.without_root_keys();
    let keys = ["alice", "bob"].map(|label| uri(label, ""));
    let rotate = ["keys", "rotate", "--key", &keys[0], "--key", &keys[1]];
    // A wrong one is not tried again, and the next prompt reports it.
    let (succeeded, shown) = operator.types(&rotate, &["161803"]);
    assert!(!succeeded && shown.matches("PIN of ").count() == 1, "{shown}");
    assert!(shown.contains("wrong PIN for token \"safe\"") && !shown.contains("161803"), "{shown}");
    assert!(shown.contains("hint: enter the PIN on a terminal"), "{shown}");
    // One login is sufficient for both keys of a token.
    let (succeeded, shown) = operator.types(&rotate, &[PIN]);
    assert!(succeeded && !shown.contains(PIN) && shown.matches("PIN of ").count() == 1, "{shown}");
    assert!(shown.contains("fewer attempts than before"), "{shown}");
    Root::first(&operator.root(1)).unwrap().next(&operator.root(2)).unwrap().next(&operator.root(3)).unwrap();
    operator.fail(&rotate, 1, "needs a PIN: stdin is no terminal");
}

#[test]
fn keys_that_cannot_sign_are_refused() {
    let Some(operator) = operator("tokens::keys_that_cannot_sign_are_refused") else { return };
    operator.succeed(&["keys", "rotate"]);
    let path = operator.keys().join("2.root.json");
    let path = path.to_str().unwrap();
    let before = operator.root(2);
    let sign = |key: &str, code: i32, expected: &str| {
        operator.fail(&["keys", "sign", path, "--key", key], code, expected);
        assert_eq!(operator.root(2), before);
    };
    sign(&with_pin(&operator, "bob"), 1, "is neither a root key of root version 2 nor of the previous one");
    sign(&with_pin(&operator, "eve"), 1, "its private keys: ");
    sign("pkcs11:token=safe?module-path=/none/libykcs11.so", 1, "hint: it is in Debian's package ykcs11");
    sign("pkcs11:token=unsafe?module-name=softhsm2", 1, "its tokens: token \"safe\"");
    sign("pkcs11:token=safe?pin-value=271828", 2, "`pin-value`: other users can read a command line");
    sign(&uri("bob", "&pin-value=271828"), 2, "pin-source=file:");
    let add = |key: &str, code: i32, expected: &str| {
        operator.fail(&["keys", "rotate", "--add", key], code, expected);
        assert!(!Path::new(&operator.keys().join("3.root.json")).exists());
    };
    add("root=pkcs11:token=safe?pin-value=271828", 2, "`pin-value`");
    add("roots=pkcs11:token=safe?pin-value=271828", 2, "invalid role");
    add(&format!("channel={}", uri("bob", "")), 2, "channel keys are files");
    add(&format!("root={}", uri("eve", "")), 1, "needs a PIN");
}
