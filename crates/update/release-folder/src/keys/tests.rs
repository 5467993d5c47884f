//! Keys with and without a password.

use std::os::unix::fs::PermissionsExt;

use release::public_key;

use super::*;

fn password(text: &str) -> Password {
    Password::of_line(text).unwrap()
}

/// Whether signatures of the secret key verify with the key of a `.pub` file.
fn is_pair(secret: &SigningKey, public: &Path) -> bool {
    let public = public_key("x", &fs::read_to_string(public).unwrap()).unwrap();
    let signature = secret.signer().sign(b"text").unwrap();
    let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    tuf::Key::ed25519(&public).verifies(b"text", &hex)
}

#[test]
fn generated_keys_sign_and_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let result = generate_keys(folder.path(), "test", None).unwrap();
    let public = folder.path().join("release/test.pub");
    assert!(is_pair(&SigningKey::read(&result.release).unwrap(), &public));
    assert!(!is_pair(&SigningKey::read(&result.channel).unwrap(), &public));
    for secret in [&result.release, &result.channel] {
        assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(matches!(generate_keys(folder.path(), "test", None), Err(KeysError::Exists(_))));
    // Where older versions created the channel key.
    fs::remove_file(&result.release).unwrap();
    fs::rename(&result.channel, folder.path().join("channel.key")).unwrap();
    assert_eq!(existing_key_path(folder.path(), "channel"), folder.path().join("channel.key"));
    assert!(matches!(generate_keys(folder.path(), "test", None), Err(KeysError::Exists(_))));
}

#[test]
fn a_stolen_file_of_the_release_key_does_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let result = generate_keys(folder.path(), "test", Some(&password("right"))).unwrap();
    assert!(matches!(SigningKey::read(&result.release), Err(KeysError::Encrypted(_))));
    let error = SigningKey::unlock(&result.release, &mut Some(password("wrong"))).err().unwrap();
    assert_eq!(error.to_string(), format!("wrong password for {}", result.release.display()));
    let key = SigningKey::unlock(&result.release, &mut Some(password("right"))).unwrap();
    assert!(is_pair(&key, &folder.path().join("release/test.pub")));
    // A server reads the channel key unattended.
    SigningKey::read(&result.channel).unwrap();
}

#[test]
fn an_invalid_key_is_reported_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.key");
    let text = fs::read_to_string(generate_keys(folder.path(), "test", None).unwrap().release).unwrap();
    let line = text.lines().nth(1).unwrap();
    let mut damaged = line.to_owned();
    // A character of the key.
    damaged.replace_range(100..101, if &line[100..101] == "A" { "B" } else { "A" });
    for text in ["nonsense".to_owned(), text.replace(line, &damaged)] {
        fs::write(&path, text).unwrap();
        assert!(matches!(SigningKey::read(&path), Err(KeysError::Format { .. })));
    }
}

/// Attack: signatures of one message with two public keys give the secret key away.
#[test]
fn a_key_with_the_public_key_of_another_is_not_used() {
    let [one, two] = [0; 2].map(|_| KeyPair::generate_unencrypted_keypair().unwrap().sk.to_bytes());
    let mixed = [&one[..PUBLIC.start], &two[PUBLIC], &one[PUBLIC.end..]].concat();
    let new = |bytes: &[u8]| SigningKey::new(&SecretKey::from_bytes(bytes).unwrap());
    assert_eq!(new(&one).unwrap().public()[..], one[PUBLIC]);
    assert!(new(&mixed).is_none());
}
