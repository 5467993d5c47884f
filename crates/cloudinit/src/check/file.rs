//! `write_files`: clean paths, modes as numbers, decoded contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::name::clean_path;
use super::refusal::{Refusal, one_line};
use crate::config::File;
use crate::encoding::{ContentEncoding, DecodeError};
use crate::limits::MAX_FILE_BYTES;
use crate::schema::mode;
use crate::yaml::Place;

const DEFAULT_MODE: u32 = 0o644;
const READ_ONLY: &str = "file cannot be written to a read-only filesystem";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: String,
    pub mode: u32,
    /// As `chown` reads it; empty for root.
    pub owner: String,
    pub content: Arc<[u8]>,
    pub way: Way,
    /// Written after the units, before their commands.
    pub deferred: bool,
}

/// What becomes of a file that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Replace,
    /// Left alone.
    Keep,
    /// Added to. Its mode is kept if none is given.
    Append {
        keeps_mode: bool,
    },
}

pub(super) fn check(
    files: &[File],
    left_out: &mut Vec<Refusal>,
    refusals: &mut Vec<Refusal>,
) -> Vec<CheckedFile> {
    let mut checked = Vec::new();
    let mut places = BTreeMap::new();
    for file in files {
        let before = refusals.len();
        let path = path(file, refusals);
        let mode = permissions(file, refusals);
        one_line(file.owner.as_ref(), "owner", refusals);
        let content = content(file, refusals);
        let place = file.path.as_ref().map_or(file.place, |path| path.place);
        let read_only = is_read_only(&path);
        if read_only {
            let failure = format!("write {path}: {READ_ONLY}");
            left_out.push(Refusal::new(place, READ_ONLY).failing_with(failure));
        }
        if read_only || refusals.len() != before {
            continue;
        }
        places.entry(path.clone()).or_insert(place);
        let owner = file.owner.as_ref().map(|owner| owner.text.to_string()).unwrap_or_default();
        let way = match (file.append, file.keep) {
            (true, _) => Way::Append { keeps_mode: file.permissions.is_none() },
            (false, true) => Way::Keep,
            (false, false) => Way::Replace,
        };
        checked.push(CheckedFile { path, mode, owner, content, way, deferred: file.defer });
    }
    nested(&places, refusals);
    checked
}

/// `/usr` is the image's; the file `/usr` itself is not below it.
fn is_read_only(path: &str) -> bool {
    path.starts_with("/usr/")
}

/// A path can not be a file and a directory: one of the two entries would fail.
fn nested(places: &BTreeMap<String, Place>, refusals: &mut Vec<Refusal>) {
    for (path, place) in places {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for (parent, parents_place) in parents.filter_map(|parent| places.get_key_value(parent)) {
            let line = parents_place.line;
            let problem = format!("path {path:?} is below {parent:?}, which line {line} says is a file");
            refusals.push(Refusal::new(*place, problem));
        }
    }
}

fn path(file: &File, refusals: &mut Vec<Refusal>) -> String {
    let Some(path) = &file.path else {
        refusals.push(Refusal::new(file.place, "file has no path"));
        return String::new();
    };
    one_line(Some(path), "path", refusals);
    let clean = clean_path(&path.text);
    if clean == "/" {
        refusals.push(Refusal::new(path.place, format!("path {:?} is no file", path.text)));
    }
    clean
}

fn permissions(file: &File, refusals: &mut Vec<Refusal>) -> u32 {
    let Some(permissions) = &file.permissions else { return DEFAULT_MODE };
    mode(&permissions.text).unwrap_or_else(|| {
        let failure = format!("Unable to parse file permissions {:?} as integer", permissions.text);
        let finding = format!("invalid value {}", permissions.text);
        refusals.push(Refusal::new(permissions.place, finding).failing_with(failure));
        DEFAULT_MODE
    })
}

fn content(file: &File, refusals: &mut Vec<Refusal>) -> Arc<[u8]> {
    let empty = || Arc::from(&b""[..]);
    let name = file.encoding.as_ref().map(|encoding| &*encoding.text).unwrap_or_default();
    let Some(content) = &file.content else { return empty() };
    let decoded = match ContentEncoding::parse(name) {
        Some(encoding) if encoding.is_plain() => return content.bytes.clone(),
        Some(encoding) => encoding.decode(&content.bytes, MAX_FILE_BYTES).map(Arc::from),
        None => Err(DecodeError::Unsupported(name.to_owned())),
    };
    decoded.unwrap_or_else(|error| {
        let finding = format!("content cannot be decoded as {name:?}");
        refusals.push(Refusal::new(content.place, finding).failing_with(error.to_string()).at_parse());
        empty()
    })
}
