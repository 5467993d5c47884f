//! `keys.json`: which keys count, signed by root keys that are kept apart from each other and off every server.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::PublicKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{MetadataError, read, write};
use crate::keys::{Keys, SignatureError};
use crate::name::FileName;

/// Most bytes of `keys.json`.
pub const MAX_KEY_SET: usize = 16 << 10;
/// Most bytes of its signatures.
pub const MAX_KEY_SET_SIGNATURES: usize = 16 << 10;
/// Most keys of one kind.
pub const MAX_KEYS: usize = 16;
/// One root key alone must never be enough: it may be the stolen one.
pub const MIN_THRESHOLD: usize = 2;

/// What stands before the key itself: minisign's name of the algorithm, and the number that signatures find it by.
const ALGORITHM: &[u8] = b"Ed";
const KEY_BEGINS: usize = 10;
const KEY_ENDS: usize = 42;

/// `keys.json`: the keys of a channel, until the next set takes their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    pub schema: u32,
    /// Counts up by one from set to set.
    pub epoch: u64,
    /// Seconds since 1970.
    pub issued: u64,
    /// Seconds since 1970, from when on nothing is taken that its keys signed; the next set still is.
    pub expires: u64,
    /// So many root keys sign the next set.
    pub threshold: usize,
    pub root: Vec<NamedKey>,
    /// Sign releases, each alone.
    pub release: Vec<NamedKey>,
    /// Sign what a channel has, each alone.
    pub channel: Vec<NamedKey>,
}

/// A key and what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedKey {
    pub name: FileName,
    pub key: KeyText,
}

/// The one line of a minisign public key that matters.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    text: String,
    public: PublicKey,
    /// Without the number, which whoever makes a key chooses: the same key under two numbers is one key.
    key: [u8; KEY_ENDS - KEY_BEGINS],
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no minisign public key")]
pub struct KeyTextError(String);

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Root,
    Release,
    Channel,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Root, Self::Release, Self::Channel];

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
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// From a `.pub` file: a comment, and the key in the second line.
    pub fn of_file(text: &str) -> Result<Self, KeyTextError> {
        let line = text.lines().nth(1).unwrap_or_default();
        line.trim_end().to_owned().try_into()
    }

    /// Whether it is the same key, by whatever number.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
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
        let key = bytes.as_deref().filter(|bytes| bytes.len() == KEY_ENDS);
        let key = key.and_then(|bytes| bytes.get(KEY_BEGINS..)?.try_into().ok());
        match (key, PublicKey::from_base64(&text)) {
            (Some(key), Ok(public)) => Ok(Self { text, public, key }),
            _ => Err(KeyTextError(text.chars().take(KEY_ENDS * 2).collect())),
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

    /// Reads what was checked against signatures, or what the image pins.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let set: Self = read(Self::FILE, bytes, MAX_KEY_SET)?;
        set.check().map_err(|why| MetadataError::Meaning { file: Self::FILE, why })?;
        Ok(set)
    }

    /// What is to be signed and served.
    ///
    /// # Errors
    /// When [`KeySet::parse`] would not take it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MetadataError> {
        write(Self::FILE, self, Self::parse)
    }

    /// The keys of one kind.
    #[must_use]
    pub fn of(&self, role: Role) -> &[NamedKey] {
        match role {
            Role::Root => &self.root,
            Role::Release => &self.release,
            Role::Channel => &self.channel,
        }
    }

    /// The keys of one kind, to check signatures with.
    #[must_use]
    pub fn keys(&self, role: Role) -> Keys {
        let mut keys = Keys::default();
        for NamedKey { name, key } in self.of(role) {
            keys.push(format!("{name} of key set {}", self.epoch), key.public.clone());
        }
        keys
    }

    /// Which of its root keys signed exactly `bytes`: each once, however often it signed, in the set's order.
    /// `signatures` are texts of `.sig` files, one behind the other; those of other keys say nothing.
    ///
    /// # Errors
    /// They are not in minisign's format, or too long.
    pub fn signed_by(&self, bytes: &[u8], signatures: &str) -> Result<Vec<&FileName>, SignatureError> {
        if signatures.len() > MAX_KEY_SET_SIGNATURES {
            return Err(SignatureError::Malformed(format!(
                "it has more than {MAX_KEY_SET_SIGNATURES} bytes"
            )));
        }
        let signed = self.keys(Role::Root).signed(bytes, signatures)?;
        Ok(self.root.iter().zip(signed).filter(|(_, signed)| *signed).map(|(key, _)| &key.name).collect())
    }

    fn check(&self) -> Result<(), String> {
        if self.epoch == 0 {
            return Err("epoch: the first set has number 1".to_owned());
        }
        if self.expires <= self.issued {
            return Err("expires: it was out of date when it was issued".to_owned());
        }
        if self.threshold < MIN_THRESHOLD {
            return Err(format!("threshold: {MIN_THRESHOLD} root keys are the least"));
        }
        if self.threshold > self.root.len() {
            return Err(format!("threshold: it has {} root keys", self.root.len()));
        }
        let mut names = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for role in Role::ALL {
            let (kind, all) = (role.name(), self.of(role));
            if !(1..=MAX_KEYS).contains(&all.len()) {
                return Err(format!("{kind}: it wants 1 to {MAX_KEYS} keys"));
            }
            for named in all {
                // One that has two tasks is lost for both when it is stolen at one.
                if let Some(other) = keys.insert(named.key.key, &named.name) {
                    return Err(format!("`{other}` and {kind} `{}` are one key", named.name));
                }
                if names.insert((role, &named.name), ()).is_some() {
                    return Err(format!("two {kind} keys are called `{}`", named.name));
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

    /// The same key under another number, as who wants to count twice would have it.
    fn renumbered(key: &KeyText) -> KeyText {
        let mut bytes = STANDARD.decode(key.as_str()).unwrap();
        bytes[2] ^= 1;
        KeyText::try_from(STANDARD.encode(bytes)).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again_and_every_cut_is_refused() {
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
    fn nothing_that_could_be_read_in_two_ways_is_read() {
        let (set, _) = set();
        let good = String::from_utf8(set.to_bytes().unwrap()).unwrap();
        let check = |from: &str, to: &str, expect: &str| {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let error = KeySet::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expect), "{from} -> {to}: {error}");
        };
        check("\"epoch\": 1", "\"epoch\": 0", "the first set has number 1");
        check("\"epoch\": 1", "\"epoch\": 1, \"epoch\": 2", "duplicate field `epoch`");
        check("\"epoch\": 1", "\"Epoch\": 1", "unknown field `Epoch`");
        check("\"epoch\": 1", "\"epoch\": 1, \"note\": 1", "unknown field `note`");
        check("\"schema\": 1", "\"schema\": 2", "schema 2, this machine reads 1");
        check("\"threshold\": 2", "\"threshold\": 1", "2 root keys are the least");
        check("\"threshold\": 2", "\"threshold\": 4", "it has 3 root keys");
        check("\"threshold\": 2", "\"threshold\": -1", "line");
        check("\"expires\": 200", "\"expires\": 100", "out of date when it was issued");
        check("\"name\": \"two\"", "\"name\": \"one\"", "two root keys are called `one`");
        check("\"name\": \"two\"", "\"name\": \"../two\"", "no file's name");
        let one = set.root[0].key.as_str();
        check(set.root[1].key.as_str(), one, "`one` and root `two` are one key");
        check(set.release[0].key.as_str(), one, "`one` and release `own` are one key");
        check(one, &one[1..], "no minisign public key");
        check(one, &format!("{one}AAAA"), "no minisign public key");
    }

    #[test]
    fn a_key_is_one_key_under_whatever_number() {
        let (mut set, _) = set();
        let twin = renumbered(&set.root[0].key);
        assert!(twin != set.root[0].key && twin.is_same(&set.root[0].key));
        set.root[1].key = twin;
        let error = set.to_bytes().unwrap_err().to_string();
        assert!(error.contains("`one` and root `two` are one key"), "{error}");
    }

    #[test]
    fn each_root_key_counts_once_and_others_do_not() {
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
