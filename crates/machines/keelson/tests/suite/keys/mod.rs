//! Passwords and places of signing keys, as an operator and as a thief use them.

mod operator;
mod roots;
mod targets;
mod tokens;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use release_folder::{Password, SigningKey};

use operator::{Operator, PASSWORD, names};

fn unlock(path: &Path, password: &str) -> Result<SigningKey, release_folder::KeysError> {
    SigningKey::unlock(path, &mut Some(Password::of_line(password).unwrap()))
}

/// Attack: someone copies the folder of the keys, from a backup or a stolen disk, and signs a release or a root.
#[test]
fn copied_root_and_release_keys_do_not_sign_without_the_password() {
    let operator = Operator::with_keys();
    let keys = operator.keys();
    for name in ["release.key", "root-1.key", "root-2.key", "root-3.key"] {
        let path = keys.join(name);
        assert!(SigningKey::read(&path).is_err(), "{name} signs without a password");
        unlock(&path, PASSWORD).unwrap();
    }
    let thief = Operator { variable: Some("a guess"), ..Operator::new() };
    let at = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    let sign = ["keys", "sign", &at("1.root.json"), "--key", &at("root-1.key")];
    thief.fail(&sign, 1, &format!("error: wrong password for {}", at("root-1.key")));
    // The server reads this one unattended.
    SigningKey::read(&keys.join("server/channel.key")).unwrap();
    assert_eq!(names(&keys.join("server")), ["channel.key"]);
}

/// Attack: as above, with the program that signs.
#[test]
fn a_release_is_not_signed_without_the_password() {
    let mut operator = Operator::with_keys();
    // What makes a folder a checkout. It cannot be built.
    fs::create_dir(operator.home.path().join("os")).unwrap();
    fs::write(operator.home.path().join("os/packages"), "").unwrap();
    let key = operator.keys().join("release.key");
    operator.variable = None;
    operator.fail(
        &["release"],
        2,
        &format!("error: cannot use the release key: cannot decrypt {}", key.display()),
    );
    operator.fail(&["release"], 2, "no password, and stdin is no terminal: set --password-file or");
    operator.variable = Some("a guess");
    operator.fail(
        &["release"],
        1,
        &format!("cannot use the release key: wrong password for {}\n", key.display()),
    );
    // The build begins.
    operator.variable = Some(PASSWORD);
    operator.fail(&["release"], 1, "os/release.toml");
}

#[test]
fn without_a_password_nothing_is_created() {
    let operator = Operator::new();
    let keys = operator.keys();
    let ways = "error: new keys need a password, and stdin is no terminal: set --password-file or \
                KEELSON_KEYS_PASSWORD; --no-password writes unencrypted keys\n";
    operator.fail(&["keys"], 2, ways);
    let file = operator.home.path().join("password");
    let file = file.to_str().unwrap();
    operator.fail(&["keys", "--password-file", file], 1, &format!("cannot read the password from {file}"));
    fs::write(file, "\n").unwrap();
    operator.fail(&["keys", "--password-file", file], 1, "the password is empty");
    fs::write(file, "one\ntwo\n").unwrap();
    operator.fail(&["keys", "--password-file", file], 1, "more than one line");
    let empty = Operator { variable: Some(""), ..operator };
    empty.fail(&["keys"], 1, "invalid password in KEELSON_KEYS_PASSWORD: the password is empty");
    assert!(!keys.exists());
}

#[test]
fn a_password_comes_from_a_file_or_from_stdin() {
    let operator = Operator::new();
    fs::write(operator.home.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    operator.succeed(&["keys", "--out", "a", "--password-file", "password"]);
    unlock(&operator.home.path().join("a/release.key"), PASSWORD).unwrap();
    let mut command = operator.command(env!("CARGO_BIN_EXE_keelson"));
    let mut child = command
        .args(["keys", "rotate", "--keys", "a", "--replace", "release", "--password-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let replaced = operator.home.path().join("a/release.key");
    assert!(SigningKey::read(&replaced).is_err());
    unlock(&replaced, PASSWORD).unwrap();
    operator.succeed(&["keys", "--out", "b", "--no-password"]);
    SigningKey::read(&operator.home.path().join("b/release.key")).unwrap();
    operator.fail(&["keys", "rotate", "--keys", "a"], 2, "set --password-file or KEELSON_KEYS_PASSWORD");
    operator.fail(&["keys", "rotate", "--keys", "b", "--replace", "root-1"], 2, "--no-password writes");
    let output = operator.succeed(&["keys", "rotate", "--keys", "b", "--replace", "root-1", "--no-password"]);
    assert!(output.contains("mv b/root-1.key /media/root-1/"), "{output}");
}

#[test]
fn a_password_is_typed_twice_and_not_shown() {
    let operator = Operator::new();
    let (succeeded, shown) = operator.types(&["keys"], &["one", "another"]);
    assert!(!succeeded && shown.contains("error: the passwords differ"), "{shown}");
    let (succeeded, shown) = operator.types(&["keys"], &[""]);
    assert!(!succeeded && shown.contains("error: the password is empty"), "{shown}");
    assert!(!operator.keys().exists());
    let (succeeded, shown) = operator.types(&["keys"], &[PASSWORD, PASSWORD]);
    assert!(succeeded && !shown.contains(PASSWORD), "{shown}");
    // Existing keys are found before the password is asked for.
    let (succeeded, shown) = operator.types(&["keys"], &[]);
    assert!(
        !succeeded
            && shown.contains("release.key already exists")
            && shown.contains("hint: keelson keys pin"),
        "{shown}"
    );
    // Once for all root keys.
    let (succeeded, shown) = operator.types(&["keys", "rotate"], &[PASSWORD]);
    assert!(succeeded && shown.matches("Password of ").count() == 1, "{shown}");
    let (succeeded, shown) = operator.types(&["keys", "rotate"], &["wrong"]);
    let expected = format!("error: wrong password for {}", operator.keys().join("root-1.key").display());
    assert!(!succeeded && shown.contains(&expected), "{shown}");
}

#[test]
fn root_keys_are_created_in_places_of_their_own_or_the_output_separates_them() {
    let operator = Operator { variable: Some(PASSWORD), ..Operator::new() };
    let keys = operator.keys();
    let [a, b, c] = ["a", "b", "c"].map(|name| operator.home.path().join(name));
    let [a, b, c] = [&a, &b, &c].map(|path| path.to_str().unwrap());
    let places = ["keys", "--root-dir", a, "--root-dir", b, "--root-dir", c];
    operator.fail(&places, 1, &format!("cannot read {a}: No such file"));
    operator.fail(&places[..5], 2, "--root-dir: each of the 3 root keys needs a folder of its own: 2 given");
    for place in [a, b, c] {
        fs::create_dir(place).unwrap();
    }
    operator.succeed(&places);
    assert_eq!(
        [a, b, c].map(|place| names(Path::new(place))),
        [["root-1.key"], ["root-2.key"], ["root-3.key"]]
    );
    assert!(!names(&keys).iter().any(|name| name.starts_with("root-")));
    let two = ["keys", "rotate", "--key", &format!("{a}/root-1.key"), "--key", &format!("{c}/root-3.key")];
    assert!(operator.succeed(&two).contains("signed by root-1, root-3 of root version 1"));

    let output = operator.succeed(&["keys", "--out", "together"]);
    for name in ["root-1", "root-2", "root-3"] {
        assert!(output.contains(&format!("\n  mv together/{name}.key /media/{name}/\n")), "{output}");
    }
}

/// Attack: whoever takes over the channel server reads the keys beside the channel key, and replaces every other key.
#[test]
fn a_server_does_not_start_beside_root_and_release_keys() {
    let operator = Operator::with_keys();
    let keys = operator.keys();
    let data = operator.home.path().join("data");
    let serve = |key: &str| {
        let key = keys.join(key);
        let arguments =
            ["serve-updates", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap(), "--key"];
        [&arguments[..], &[key.to_str().unwrap()]].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = |arguments: &[String], expected: &str| {
        operator.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 1, expected);
    };
    // Where older versions created it: also the default.
    fs::rename(keys.join("server/channel.key"), keys.join("channel.key")).unwrap();
    let release =
        format!("the secret release key {} is in the folder of", keys.join("release.key").display());
    refused(&serve("channel.key"), &release);
    refused(&["serve-updates".to_owned()], &release);
    let next = format!("mkdir -p {0}/server && mv {0}/channel.key {0}/server/", keys.display());
    refused(&["serve-updates".to_owned()], &next);
    fs::rename(keys.join("channel.key"), keys.join("server/channel.key")).unwrap();
    // One root key under another name, beside a copy and beside the target of a link.
    fs::copy(keys.join("root-2.key"), keys.join("server/backup")).unwrap();
    let root = format!("the secret root key {} is in the folder of", keys.join("server/backup").display());
    refused(&serve("server/channel.key"), &root);
    fs::create_dir(keys.join("link")).unwrap();
    std::os::unix::fs::symlink("../server/channel.key", keys.join("link/channel.key")).unwrap();
    refused(&serve("link/channel.key"), "the secret root key ");
    fs::remove_file(keys.join("server/backup")).unwrap();
    refused(&serve("release.key"), "release.key cannot be the online key: it belongs on no server");
}

/// Attack: as above, on a server for other hosts, which runs as the account that has the keys.
#[test]
fn a_server_for_other_hosts_does_not_start_as_the_account_that_has_the_keys() {
    let operator = Operator::with_keys();
    let expected = "in the key folder of this account, which therefore cannot run a server for other hosts";
    operator.fail(&["serve-updates", "--listen", "0.0.0.0:0"], 1, expected);
    let public = ["serve-updates", "--listen", "127.0.0.1:0", "--public-url", "https://updates.example.net"];
    operator.fail(&public, 1, expected);
}
