//! Snapshots of etcd 0.4, as far as their keys go: what `GET /v2/migration/snapshot` of a 0.4.9 answered, and the
//! `.ss` files of its data directory, which have that inside. It must never take a part of one for the whole.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// The year of a node that never expires: Go's zero time.
const NEVER: i16 = 1;
/// Of the first line of a `.ss` file: a CRC-32 in hex of all that follows it.
const CHECKSUM_DIGITS: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("it is damaged: its checksum is {stored:08x}, that of its content {computed:08x}")]
    Damaged { stored: u32, computed: u32 },
    #[error("it is no snapshot of etcd 0.4")]
    Json(#[from] serde_json::Error),
    #[error("its state is no base64")]
    State(#[from] base64::DecodeError),
    #[error("it has neither keys nor a state")]
    Nothing,
    #[error("{path} expires at {text:?}, which is no time")]
    Time { path: String, text: String },
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub path: String,
    pub value: String,
    pub expires: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Snapshot {
    root: Node,
    pub index: u64,
}

/// Either form: the store itself, or raft's snapshot with the store as base64.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "Root")]
    root: Option<Node>,
    #[serde(rename = "CurrentIndex", default)]
    index: u64,
    state: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    #[serde(default)]
    expire_time: String,
    #[serde(default)]
    value: String,
    /// A directory has them, even if none.
    children: Option<BTreeMap<String, Node>>,
}

pub fn read(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let file: File = serde_json::from_slice(content(bytes)?)?;
    if let Some(root) = file.root {
        return Ok(Snapshot { root, index: file.index });
    }
    let state = STANDARD.decode(file.state.ok_or(SnapshotError::Nothing)?)?;
    let file: File = serde_json::from_slice(&state)?;
    Ok(Snapshot { root: file.root.ok_or(SnapshotError::Nothing)?, index: file.index })
}

/// What stands behind the checksum, where there is one.
fn content(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let line = bytes.get(..CHECKSUM_DIGITS).filter(|_| bytes.get(CHECKSUM_DIGITS) == Some(&b'\n'));
    let stored = line.and_then(|line| u32::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok());
    let Some(stored) = stored else { return Ok(bytes) };
    let rest = &bytes[CHECKSUM_DIGITS + 1..];
    let computed = crc32fast::hash(rest);
    if stored == computed { Ok(rest) } else { Err(SnapshotError::Damaged { stored, computed }) }
}

impl Snapshot {
    /// The keys at and below a path that are not hidden from there; `None` where there is no such path.
    pub fn keys(&self, path: &str) -> Option<Result<Vec<Key>, SnapshotError>> {
        let names: Vec<_> = path.split('/').filter(|name| !name.is_empty()).collect();
        let mut node = &self.root;
        for name in &names {
            node = node.children.as_ref()?.get(*name)?;
        }
        let at = names.iter().map(|name| format!("/{name}")).collect::<String>();
        let mut keys = Vec::new();
        Some(node.collect(at, &mut keys).map(|()| keys))
    }
}

impl Node {
    fn collect(&self, path: String, keys: &mut Vec<Key>) -> Result<(), SnapshotError> {
        let Some(children) = &self.children else {
            let expires = expiry(&path, &self.expire_time)?;
            keys.push(Key { path, value: self.value.clone(), expires });
            return Ok(());
        };
        let seen = children.iter().filter(|(name, _)| !name.starts_with('_'));
        seen.into_iter().try_for_each(|(name, node)| node.collect(format!("{path}/{name}"), keys))
    }
}

fn expiry(path: &str, text: &str) -> Result<Option<Timestamp>, SnapshotError> {
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| SnapshotError::Time { path: path.to_owned(), text: text.to_owned() };
    let time: Timestamp = text.parse().map_err(wrong)?;
    Ok((time.to_zoned(TimeZone::UTC).year() != NEVER).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made from the documented format (etcd 0.4's store as JSON), not by a running 0.4.
    const STORE: &str = include_str!("../../tests/snapshots/store.json");

    fn shown(snapshot: &Snapshot, path: &str) -> String {
        let keys = snapshot.keys(path).map(Result::unwrap).unwrap_or_default();
        let lines = keys.iter().map(|key| {
            let expires = key.expires.map(|time| format!(" until {}", time.as_second()));
            format!("{}={}{}", key.path, key.value, expires.unwrap_or_default())
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    const VISIBLE: &str = "/message=Hello; /service/web/1=10.0.0.1:80 until 1420070400; /service/web/2=";

    #[test]
    fn the_store_alone_and_the_file_around_it() {
        let alone = read(STORE.as_bytes()).unwrap();
        assert_eq!((shown(&alone, "/").as_str(), alone.index), (VISIBLE, 12));
        let inner =
            format!(r#"{{"state":"{}","lastIndex":12,"lastTerm":1,"peers":[]}}"#, STANDARD.encode(STORE));
        let file = format!("{:08x}\n{inner}", crc32fast::hash(inner.as_bytes()));
        assert_eq!(shown(&read(file.as_bytes()).unwrap(), "/"), VISIBLE);
        let changed = file.replace("\"lastTerm\":1", "\"lastTerm\":2");
        assert!(matches!(read(changed.as_bytes()), Err(SnapshotError::Damaged { .. })));
    }

    #[test]
    fn hidden_keys_are_there_for_who_names_them() {
        let snapshot = read(STORE.as_bytes()).unwrap();
        assert_eq!(shown(&snapshot, "/_coreos.com"), "/_coreos.com/fleet/a=1");
        assert_eq!(shown(&snapshot, "_coreos.com/fleet/"), "/_coreos.com/fleet/a=1");
        assert_eq!(shown(&snapshot, "/_coreos.com/_deeper"), "/_coreos.com/_deeper/b=2");
        assert!(snapshot.keys("/no/such").is_none());
        assert!(snapshot.keys("/message/below").is_none());
    }

    #[test]
    fn what_is_none_is_refused() {
        let check = |text: &str, expect: &str| {
            let told = read(text.as_bytes()).map(drop).unwrap_err().to_string();
            assert!(told.contains(expect), "{text}: {told}");
        };
        check("", "no snapshot");
        check("{}", "neither keys nor a state");
        check(r#"{"state":"%%"}"#, "no base64");
        check(&STORE[..STORE.len() / 2], "no snapshot");
        let late = STORE.replace("2015-01-01T01:00:00+01:00", "tomorrow");
        let told = read(late.as_bytes()).unwrap().keys("/").unwrap().unwrap_err().to_string();
        assert!(told.contains("\"tomorrow\""), "{told}");
    }
}
