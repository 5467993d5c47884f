//! python-tuf, the reference implementation: it accepts and signs our roots, and refuses what was changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use minisign::SecretKeyBox;
use release_folder::{
    Change, FirstRoot, Replace, create_first_root, generate_keys, merge_signatures, rotate, status,
};
use update_core::roots::{Role, named_keys};

/// The interpreter of an environment with `tests/python/requirements.txt` of the crate `tuf`.
const PYTHON: &str = "KEELSON_TUF_PYTHON";
/// Of the seed in a decrypted secret key.
const SEED: std::ops::Range<usize> = 62..94;

fn python(command: &str) -> Command {
    let interpreter =
        std::env::var_os(PYTHON).expect("KEELSON_TUF_PYTHON is the interpreter: run `cargo verify tuf`");
    let mut python = Command::new(interpreter);
    let script = "../tuf/tests/python/roots.py";
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).arg(command);
    python
}

fn verify(roots: &[&PathBuf]) -> Output {
    python("verify").args(roots).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[test]
#[ignore = "needs python-tuf: cargo verify tuf"]
fn python_verifies_and_signs_our_roots() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    generate_keys(at, "own", None).unwrap();
    let expires = 4_102_358_400;
    let first =
        create_first_root(at, &FirstRoot { expires, ..FirstRoot::default() }, &mut None).unwrap().path;
    let replace = vec![Replace { role: Role::Root, file: "root-3".to_owned() }];
    fs::rename(at.join("root-2.key"), at.join("elsewhere")).unwrap();
    fs::rename(at.join("root-3.key"), at.join("lost")).unwrap();
    let second = rotate(at, &Change { replace, ..Change::default() }, &mut None, expires).unwrap();
    assert!(!second.is_complete());
    let second = second.path;
    assert_eq!(text(&verify(&[&first]).stdout), "1 root-1 root-2 root-3");
    assert_eq!(verify(&[&first, &second]).status.code(), Some(2), "one root key is missing");

    // python-tuf signs a copy, and its signature is collected.
    let copy = at.join("copy");
    fs::copy(&second, &copy).unwrap();
    let keys = named_keys(&status(&second).unwrap().root, Role::Root);
    let key = keys.iter().find(|key| key.name.as_str() == "root-2").unwrap();
    let secret = SecretKeyBox::from(fs::read_to_string(at.join("elsewhere")).unwrap());
    let seed = secret.into_unencrypted_secret_key().unwrap().to_bytes()[SEED].to_vec();
    let seed: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let signed = python("sign").arg(&copy).args([key.key.id(), seed]).output().unwrap();
    assert!(signed.status.success(), "{}", text(&signed.stderr));
    assert!(merge_signatures(&second, &[copy]).unwrap().is_complete());
    let verified = verify(&[&first, &second]);
    let expected = "2 root-1 root-2 root-3.v2";
    assert_eq!(text(&verified.stdout), expected, "{}", text(&verified.stderr));

    // A date: the same length, and still JSON.
    let good = fs::read_to_string(&second).unwrap();
    fs::write(&second, good.replacen("2099-", "2098-", 1)).unwrap();
    assert_ne!(fs::read_to_string(&second).unwrap(), good);
    assert_eq!(verify(&[&first, &second]).status.code(), Some(2));
}
