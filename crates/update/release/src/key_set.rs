//! `keys.json`: the set of trusted keys, signed by root keys that are stored separately and offline.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::PublicKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{MetadataError, parse_strict, to_canonical};
use crate::keys::{Keys, SignatureError};
use crate::name::FileName;

/// Maximum size of `keys.json` in bytes.
pub const MAX_KEY_SET: usize = 16 << 10;
/// Maximum size of its signatures in bytes.
pub const MAX_KEY_SET_SIGNATURES: usize = 16 << 10;
/// Maximum number of keys per role.
pub const MAX_KEYS: usize = 16;
/// A single root key must never suffice: it may be stolen.
pub const MIN_THRESHOLD: usize = 2;

/// Prefix of a minisign public key: the algorithm, followed by the key id.
const ALGORITHM: &[u8] = b"Ed";
const KEY_OFFSET: usize = 10;
const KEY_END: usize = 42;

/// `keys.json`: the keys of a channel, until the next set replaces them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// Consecutive, from 1.
    pub epoch: u64,
    /// Unix time in seconds.
    pub issued: u64,
    /// Unix time in seconds. Afterwards nothing signed by these keys is accepted, except the next set.
    pub expires: u64,
    /// Number of root keys that must sign the next set.
    pub threshold: usize,
    /// Each one can sign the next set, together with others.
    pub root: Vec<NamedKey>,
    /// Each one can sign releases.
    pub release: Vec<NamedKey>,
    /// Each one can sign timestamps.
    pub channel: Vec<NamedKey>,
}

/// A key and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    /// Unique within its role.
    pub name: FileName,
    /// Unique within its role, whatever its key id.
    pub key: KeyText,
}

/// The base64 line of a minisign public key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    text: String,
    public: PublicKey,
    /// Without the key id, which is arbitrary: a key under two ids is one key.
    key: [u8; KEY_END - KEY_OFFSET],
}

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid minisign public key `{0}`")]
pub struct KeyTextError(String);

/// The role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Signs key sets. Offline.
    Root,
    /// Signs releases. Offline.
    Release,
    /// Signs timestamps. Online: in the server.
    Channel,
}

impl Role {
    /// In the order of the fields of [`KeySet`].
    pub const ALL: [Self; 3] = [Self::Root, Self::Release, Self::Channel];

    /// `root`, `release`, `channel`: the field of [`KeySet`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Release => "release",
            Self::Channel => "channel",
        }
    }
}

impl KeyText {
    /// 56 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Parses a `.pub` file: a comment line, and the key.
    pub fn of_file(text: &str) -> Result<Self, KeyTextError> {
        let line = text.lines().nth(1).unwrap_or_default();
        line.trim_end().to_owned().try_into()
    }

    /// Compares the keys, ignoring their ids.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

impl TryFrom<String> for KeyText {
    type Error = KeyTextError;

    fn try_from(text: String) -> Result<Self, KeyTextError> {
        let bytes = STANDARD.decode(&text).ok().filter(|bytes| bytes.starts_with(ALGORITHM));
        let key = bytes.as_deref().filter(|bytes| bytes.len() == KEY_END);
        let key = key.and_then(|bytes| bytes.get(KEY_OFFSET..)?.try_into().ok());
        match (key, PublicKey::from_base64(&text)) {
            (Some(key), Ok(public)) => Ok(Self { text, public, key }),
            _ => Err(KeyTextError(text.chars().take(KEY_END * 2).collect())),
        }
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl KeySet {
    const FILE: &str = crate::files::KEYS;

    /// Parses a verified set, or the image's.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let set: Self = parse_strict(Self::FILE, bytes, MAX_KEY_SET)?;
        set.check().map_err(|why| MetadataError::Invalid { file: Self::FILE, why })?;
        Ok(set)
    }

    /// The bytes to sign and serve.
    ///
    /// # Errors
    /// [`KeySet::parse`] would reject it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        to_canonical(Self::FILE, self, Self::parse)
    }

    /// In the order of the file.
    #[must_use]
    pub fn named_keys(&self, role: Role) -> &[NamedKey] {
        match role {
            Role::Root => &self.root,
            Role::Release => &self.release,
            Role::Channel => &self.channel,
        }
    }

    /// The keys of a role, for verification.
    #[must_use]
    pub fn keys(&self, role: Role) -> Keys {
        let mut keys = Keys::default();
        for NamedKey { name, key } in self.named_keys(role) {
            keys.push(format!("{name} of key set {}", self.epoch), key.public.clone());
        }
        keys
    }

    /// The root keys that signed `bytes`, each once, in the set's order. `signatures` is a concatenation of `.sig`
    /// files; signatures of other keys are ignored.
    ///
    /// # Errors
    /// The signatures are malformed or too long.
    pub fn signed_by(&self, bytes: &[u8], signatures: &str) -> Result<Vec<&FileName>, SignatureError> {
        if signatures.len() > MAX_KEY_SET_SIGNATURES {
            return Err(SignatureError::Malformed(format!("more than {MAX_KEY_SET_SIGNATURES} bytes")));
        }
        let signed = self.keys(Role::Root).which_signed(bytes, signatures)?;
        Ok(self.root.iter().zip(signed).filter(|(_, signed)| *signed).map(|(key, _)| &key.name).collect())
    }

    fn check(&self) -> Result<(), String> {
        if self.epoch == 0 {
            return Err("epoch: must be at least 1".to_owned());
        }
        if self.expires <= self.issued {
            return Err("expires: must be later than `issued`".to_owned());
        }
        if self.threshold < MIN_THRESHOLD {
            return Err(format!("threshold: must be at least {MIN_THRESHOLD}"));
        }
        if self.threshold > self.root.len() {
            return Err(format!("threshold: greater than the number of root keys, {}", self.root.len()));
        }
        let mut names = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            let (kind, all) = (role.name(), self.named_keys(role));
            if !(1..=MAX_KEYS).contains(&all.len()) {
                return Err(format!("{kind}: must have 1 to {MAX_KEYS} keys"));
            }
            for named in all {
                // A key with two roles would compromise both when stolen.
                if let Some(other) = keys.insert(named.key.key, &named.name) {
                    return Err(format!("`{other}` and {kind} `{}` are the same key", named.name));
                }
                if names.insert((role, &named.name), ()).is_some() {
                    return Err(format!("two {kind} keys have the name `{}`", named.name));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;
    use crate::json::SCHEMA;

    fn pair() -> KeyPair {
        KeyPair::generate_unencrypted_keypair().unwrap()
    }

    fn named(name: &str, pair: &KeyPair) -> NamedKey {
        let key = KeyText::of_file(&pair.pk.to_box().unwrap().to_string()).unwrap();
        NamedKey { name: name.parse().unwrap(), key }
    }

    fn set() -> (KeySet, [KeyPair; 5]) {
        let pairs: [KeyPair; 5] = std::array::from_fn(|_| pair());
        let [one, two, three, release, channel] = &pairs;
        let set = KeySet {
            schema: SCHEMA,
            epoch: 1,
            issued: 100,
            expires: 200,
            threshold: 2,
            root: vec![named("one", one), named("two", two), named("three", three)],
            release: vec![named("own", release)],
            channel: vec![named("own", channel)],
        };
        (set, pairs)
    }

    fn sign(pair: &KeyPair, bytes: &[u8]) -> String {
        minisign::sign(None, &pair.sk, bytes, Some("t"), Some("u")).unwrap().to_string()
    }

    /// The same key under another id, to count twice.
    fn with_other_id(key: &KeyText) -> KeyText {
        let mut bytes = STANDARD.decode(key.as_str()).unwrap();
        bytes[2] ^= 1;
        KeyText::try_from(STANDARD.encode(bytes)).unwrap()
    }

    #[test]
    fn a_set_round_trips_and_truncation_is_rejected() {
        let (set, _) = set();
        let good = set.to_bytes().unwrap();
        assert_eq!(KeySet::parse(&good).unwrap(), set);
        for length in 0..good.len() - 1 {
            KeySet::parse(&good[..length]).unwrap_err();
        }
        let mut long = good.clone();
        long.resize(MAX_KEY_SET + 1, b' ');
        assert!(matches!(KeySet::parse(&long), Err(MetadataError::TooLong { .. })));
    }

    #[test]
    fn ambiguous_or_invalid_sets_are_rejected() {
        let (set, _) = set();
        let good = String::from_utf8(set.to_bytes().unwrap()).unwrap();
        let check = |from: &str, to: &str, expect: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let error = KeySet::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{from} -> {to}: {error}");
        };
        check("\"epoch\": 1", "\"epoch\": 0", "epoch: must be at least 1");
        check("\"epoch\": 1", "\"epoch\": 1, \"epoch\": 2", "duplicate field `epoch`");
        check("\"epoch\": 1", "\"Epoch\": 1", "unknown field `Epoch`");
        check("\"epoch\": 1", "\"epoch\": 1, \"note\": 1", "unknown field `note`");
        check("\"schema\": 1", "\"schema\": 2", "schema 2, supported is 1");
        check("\"threshold\": 2", "\"threshold\": 1", "must be at least 2");
        check("\"threshold\": 2", "\"threshold\": 4", "number of root keys, 3");
        check("\"threshold\": 2", "\"threshold\": -1", "line");
        check("\"expires\": 200", "\"expires\": 100", "must be later than `issued`");
        check("\"name\": \"two\"", "\"name\": \"one\"", "two root keys have the name `one`");
        check("\"name\": \"two\"", "\"name\": \"../two\"", "invalid file name");
        let one = set.root[0].key.as_str();
        check(set.root[1].key.as_str(), one, "`one` and root `two` are the same key");
        check(set.release[0].key.as_str(), one, "`one` and release `own` are the same key");
        check(one, &one[1..], "invalid minisign public key");
        check(one, &format!("{one}AAAA"), "invalid minisign public key");
    }

    #[test]
    fn a_key_with_another_id_is_the_same_key() {
        let (mut set, _) = set();
        let twin = with_other_id(&set.root[0].key);
        assert!(twin != set.root[0].key && twin.is_same_key(&set.root[0].key));
        set.root[1].key = twin;
        let error = set.to_bytes().unwrap_err().to_string();
        assert!(error.contains("`one` and root `two` are the same key"), "{error}");
    }

    #[test]
    fn each_root_key_counts_once_and_others_are_ignored() {
        let (set, [one, two, _, release, _]) = set();
        let bytes = set.to_bytes().unwrap();
        let names = |signatures: &str| -> Vec<String> {
            set.signed_by(&bytes, signatures).unwrap().iter().map(ToString::to_string).collect()
        };
        let [by_one, by_two, by_release] = [&one, &two, &release].map(|pair| sign(pair, &bytes));
        assert_eq!(names(&format!("{by_two}{by_one}")), ["one", "two"]);
        assert_eq!(names(&format!("{by_one}\n\n{by_one}{}", sign(&one, &bytes))), ["one"]);
        assert_eq!(names(&format!("{by_release}{by_two}")), ["two"]);
        assert_eq!(names(&sign(&one, b"another text")), Vec::<String>::new());
        assert_eq!(names(""), Vec::<String>::new());
        for bad in [&by_one[..by_one.len() / 2], "nonsense", &format!("{by_one}nonsense")] {
            assert!(matches!(set.signed_by(&bytes, bad), Err(SignatureError::Malformed(_))), "{bad}");
        }
        let long = by_one.repeat(MAX_KEY_SET_SIGNATURES / by_one.len() + 1);
        assert!(matches!(set.signed_by(&bytes, &long), Err(SignatureError::Malformed(_))));
    }
}
