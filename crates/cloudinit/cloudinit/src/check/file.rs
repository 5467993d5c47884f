//! Validates `write_files`: normalizes paths, parses modes and decodes contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::name::clean_path;
use super::refusal::{Refusal, require_single_line};
use crate::config::{File, Header};
use crate::encoding::{ContentEncoding, DecodeError};
use crate::file_source::FileSource;
use crate::limits::{MAX_FILE_BYTES, MAX_SOURCE_HEADERS};
use crate::schema::mode;
use crate::yaml::Location;

const DEFAULT_MODE: u32 = 0o644;
const READ_ONLY: &str = "file cannot be written to a read-only filesystem";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: String,
    pub mode: u32,
    /// In the syntax of `chown`; empty for root.
    pub owner: String,
    pub content: Arc<[u8]>,
    pub write_mode: WriteMode,
    /// Written after the units, before their commands.
    pub deferred: bool,
    pub source: Option<CheckedSource>,
}

/// The remote content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSource {
    pub from: Arc<FileSource>,
    /// Whether the inline content is used if the download fails.
    pub has_fallback: bool,
}

/// How an existing file is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    Replace,
    /// The existing file is kept unchanged.
    Keep,
    /// The content is appended. The mode is kept unless one is set.
    Append {
        keeps_mode: bool,
    },
}

pub(super) fn check(
    files: &[File],
    skipped: &mut Vec<Refusal>,
    refusals: &mut Vec<Refusal>,
) -> Vec<CheckedFile> {
    let mut checked = Vec::new();
    let mut locations = BTreeMap::new();
    for file in files {
        let before = refusals.len();
        let path = path(file, refusals);
        let mode = permissions(file, refusals);
        require_single_line(file.owner.as_ref(), "owner", refusals);
        let content = content(file, refusals);
        let location = file.path.as_ref().map_or(file.location, |path| path.location);
        let read_only = is_read_only(&path);
        if read_only {
            let failure = format!("write {path}: {READ_ONLY}");
            skipped.push(Refusal::new(location, READ_ONLY).with_failure(failure));
        }
        let source = source(file).map_err(|refusal| skipped.push(refusal));
        let Ok(source) = source else { continue };
        if read_only || refusals.len() != before {
            continue;
        }
        locations.entry(path.clone()).or_insert(location);
        let owner = file.owner.as_ref().map(|owner| owner.text.to_string()).unwrap_or_default();
        let write_mode = match (file.append, file.keep) {
            (true, _) => WriteMode::Append { keeps_mode: file.permissions.is_none() },
            (false, true) => WriteMode::Keep,
            (false, false) => WriteMode::Replace,
        };
        checked.push(CheckedFile { path, mode, owner, content, write_mode, deferred: file.defer, source });
    }
    check_nested(&locations, refusals);
    checked
}

/// Errors contain neither the URL nor header values: both may contain passwords.
fn source(file: &File) -> Result<Option<CheckedSource>, Refusal> {
    let Some(source) = &file.source else { return Ok(None) };
    let Some(uri) = &source.uri else { return Ok(None) };
    let path = file.path.as_ref().map_or("", |path| &*path.text);
    let refuse = |location, problem: String| {
        let failure = format!("fetch {path}: {problem}");
        Err(Refusal::new(location, problem).with_failure(failure))
    };
    if !is_encrypted_url(&uri.text) {
        return refuse(uri.location, "source uri is no https URL".to_owned());
    }
    if source.headers.len() > MAX_SOURCE_HEADERS {
        return refuse(source.location, format!("source has more than {MAX_SOURCE_HEADERS} headers"));
    }
    for Header { name, value } in &source.headers {
        if !is_header_name(&name.text) {
            return refuse(name.location, format!("{:?} is no name of a header", name.text));
        }
        if !value.text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return refuse(value.location, format!("the value of header {:?} is no plain ASCII", name.text));
        }
    }
    let headers = source.headers.iter();
    let headers = headers.map(|header| (header.name.text.to_string(), header.value.text.to_string()));
    let from = FileSource { url: uri.text.to_string(), headers: headers.collect() };
    Ok(Some(CheckedSource { from: from.into(), has_fallback: file.content.is_some() }))
}

fn is_encrypted_url(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let is_plain = !url.contains(|c: char| c.is_control() || c.is_whitespace());
    scheme.eq_ignore_ascii_case("https") && !rest.starts_with('/') && !rest.is_empty() && is_plain
}

/// A token (RFC 9110, 5.6.2).
fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// `/usr` is read-only: it belongs to the image. The path `/usr` itself is not below it.
fn is_read_only(path: &str) -> bool {
    path.starts_with("/usr/")
}

/// Refuses a path that is both a file and a parent directory: writing one of the two would fail.
fn check_nested(locations: &BTreeMap<String, Location>, refusals: &mut Vec<Refusal>) {
    for (path, location) in locations {
        let parents = path.match_indices('/').map(|(at, _)| &path[..at]);
        for (parent, parent_location) in parents.filter_map(|parent| locations.get_key_value(parent)) {
            let line = parent_location.line;
            let problem = format!("path {path:?} is below {parent:?}, which is a file by line {line}");
            refusals.push(Refusal::new(*location, problem));
        }
    }
}

fn path(file: &File, refusals: &mut Vec<Refusal>) -> String {
    let Some(path) = &file.path else {
        refusals.push(Refusal::new(file.location, "file has no path"));
        return String::new();
    };
    require_single_line(Some(path), "path", refusals);
    let clean = clean_path(&path.text);
    if clean == "/" {
        refusals.push(Refusal::new(path.location, format!("path {:?} is no file", path.text)));
    }
    clean
}

fn permissions(file: &File, refusals: &mut Vec<Refusal>) -> u32 {
    let Some(permissions) = &file.permissions else { return DEFAULT_MODE };
    mode(&permissions.text).unwrap_or_else(|| {
        let failure = format!("Unable to parse file permissions {:?} as integer", permissions.text);
        let finding = format!("invalid value {}", permissions.text);
        refusals.push(Refusal::new(permissions.location, finding).with_failure(failure));
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
        refusals.push(Refusal::new(content.location, finding).with_failure(error.to_string()).at_parse());
        empty()
    })
}
