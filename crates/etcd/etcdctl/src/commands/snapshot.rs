//! Reads the keys of etcd 0.4 snapshots: the response of `GET /v2/migration/snapshot` of etcd 0.4.9, and the `.ss`
//! files of its data directory, which contain the same. A truncated file must be an error.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// Year of the expiration of a permanent node: Go's zero time.
const ZERO_TIME_YEAR: i16 = 1;
/// The first line of a `.ss` file: CRC-32, in hex, of everything after that line.
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

/// A key and its value.
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

/// Either the store, or raft's snapshot with the store as base64.
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
    /// Present for a directory, even an empty one.
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

/// The contents after the checksum, which is optional.
fn content(bytes: &[u8]) -> Result<&[u8], SnapshotError> {
    let line = bytes.get(..CHECKSUM_DIGITS).filter(|_| bytes.get(CHECKSUM_DIGITS) == Some(&b'\n'));
    let stored = line.and_then(|line| u32::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok());
    let Some(stored) = stored else { return Ok(bytes) };
    let rest = &bytes[CHECKSUM_DIGITS + 1..];
    let computed = crc32fast::hash(rest);
    if stored == computed { Ok(rest) } else { Err(SnapshotError::Damaged { stored, computed }) }
}

impl Snapshot {
    /// The keys at and below `path` that are not hidden relative to it; `None` if there is no such path.
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
        let visible = children.iter().filter(|(name, _)| !name.starts_with('_'));
        visible.into_iter().try_for_each(|(name, node)| node.collect(format!("{path}/{name}"), keys))
    }
}

fn expiry(path: &str, text: &str) -> Result<Option<Timestamp>, SnapshotError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = |_| SnapshotError::Time { path: path.to_owned(), text: text.to_owned() };
    let time: Timestamp = text.parse().map_err(invalid)?;
    Ok((time.to_zoned(TimeZone::UTC).year() != ZERO_TIME_YEAR).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written from the documented format of etcd 0.4's store, not by a running 0.4.
    const STORE: &str = include_str!("../../tests/snapshots/store.json");

    fn format_keys(snapshot: &Snapshot, path: &str) -> String {
        let keys = snapshot.keys(path).map(Result::unwrap).unwrap_or_default();
        let lines = keys.iter().map(|key| {
            let expires = key.expires.map(|time| format!(" until {}", time.as_second()));
            format!("{}={}{}", key.path, key.value, expires.unwrap_or_default())
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    const VISIBLE: &str = "/message=Hello; /service/web/1=10.0.0.1:80 until 1420070400; /service/web/2=";

    #[test]
    fn store_and_file_with_state() {
        let store = read(STORE.as_bytes()).unwrap();
        assert_eq!((format_keys(&store, "/").as_str(), store.index), (VISIBLE, 12));
        let inner =
            format!(r#"{{"state":"{}","lastIndex":12,"lastTerm":1,"peers":[]}}"#, STANDARD.encode(STORE));
        let file = format!("{:08x}\n{inner}", crc32fast::hash(inner.as_bytes()));
        assert_eq!(format_keys(&read(file.as_bytes()).unwrap(), "/"), VISIBLE);
        let changed = file.replace("\"lastTerm\":1", "\"lastTerm\":2");
        assert!(matches!(read(changed.as_bytes()), Err(SnapshotError::Damaged { .. })));
    }

    #[test]
    fn hidden_keys_are_included_when_named() {
        let snapshot = read(STORE.as_bytes()).unwrap();
        assert_eq!(format_keys(&snapshot, "/_coreos.com"), "/_coreos.com/fleet/a=1");
        assert_eq!(format_keys(&snapshot, "_coreos.com/fleet/"), "/_coreos.com/fleet/a=1");
        assert_eq!(format_keys(&snapshot, "/_coreos.com/_deeper"), "/_coreos.com/_deeper/b=2");
        assert!(snapshot.keys("/no/such").is_none());
        assert!(snapshot.keys("/message/below").is_none());
    }

    #[test]
    fn invalid_snapshots_are_rejected() {
        let check = |text: &str, expect: &str| {
            let error = read(text.as_bytes()).map(drop).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        check("", "no snapshot");
        check("{}", "neither keys nor a state");
        check(r#"{"state":"%%"}"#, "no base64");
        check(&STORE[..STORE.len() / 2], "no snapshot");
        let invalid = STORE.replace("2015-01-01T01:00:00+01:00", "tomorrow");
        let error = read(invalid.as_bytes()).unwrap().keys("/").unwrap().unwrap_err().to_string();
        assert!(error.contains("\"tomorrow\""), "{error}");
    }
}
