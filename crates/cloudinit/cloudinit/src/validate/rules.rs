//! Checks single values beyond their type.

use super::{files, keys, ports, secrets, units};
use crate::config::{CloudConfig, File, ImportFrom, Text, User};
use crate::encoding::{ContentEncoding, decode_base64};
use crate::finding::{Finding, Severity};
use crate::fix::Fix;
use crate::template::{Addresses, substitute};
use crate::yaml::Location;

/// Decimal values of common modes, with the octal mode that is probably meant.
const DECIMAL_MODES: [(&str, &str); 10] = [
    ("256", "0400"),
    ("384", "0600"),
    ("416", "0640"),
    ("420", "0644"),
    ("436", "0664"),
    ("438", "0666"),
    ("448", "0700"),
    ("488", "0750"),
    ("493", "0755"),
    ("511", "0777"),
];
const DISCOVERY: &str = "ETCD_DISCOVERY";

pub(super) fn config(config: &CloudConfig, findings: &mut Vec<Finding>) {
    for key in &config.ssh_authorized_keys {
        keys::check(key, findings);
    }
    for user in &config.users {
        check_user(user, findings);
    }
    for file in &config.files {
        check_file(file, findings);
    }
    for unit in &config.units {
        units::check(unit, findings);
    }
    units::check_names(&config.units, findings);
    for variable in config.services.iter().flat_map(|options| &options.variables) {
        if variable.name == DISCOVERY {
            check_discovery(&variable.value, findings);
        }
    }
    ports::check(config, findings);
}

/// Removes tokens from the hostname: a run substitutes addresses before validation, but the validator does
/// not know them.
pub(crate) fn remove_tokens(config: &mut CloudConfig) {
    if let Some(hostname) = &mut config.hostname {
        let replaced = substitute(hostname.text.as_bytes(), &Addresses::default()).text;
        hostname.text = String::from_utf8_lossy(&replaced).into();
    }
}

/// Reports unknown tokens such as `$public_ip4`, which are not substituted.
pub(super) fn tokens(text: &[u8], findings: &mut Vec<Finding>) {
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        for visibility in ["public", "private"] {
            let prefix = format!("${visibility}_ip");
            let Some(at) = find(line, prefix.as_bytes()) else { continue };
            let rest = &line[at + prefix.len()..];
            let word: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_alphanumeric).collect();
            if word.starts_with(b"v4") || word.starts_with(b"v6") {
                continue;
            }
            let version = if word.contains(&b'6') { '6' } else { '4' };
            let word = String::from_utf8_lossy(&word);
            let message = format!("{prefix}{word} is not replaced (did you mean {prefix}v{version}?)");
            let before = String::from_utf8_lossy(&line[..at]).chars().count();
            let location = Location { line: number as u32 + 1, column: before as u32 + 1 };
            let fix = Fix::new(location, format!("{prefix}{word}"), format!("{prefix}v{version}"));
            findings.push(Finding::new(Severity::Info, location, message).with_fix(Some(fix)));
        }
    }
}

fn find(line: &[u8], word: &[u8]) -> Option<usize> {
    line.windows(word.len()).position(|window| window == word)
}

fn warn(location: Location, message: impl Into<String>, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(Severity::Warning, location, message));
}

fn check_user(user: &User, findings: &mut Vec<Finding>) {
    if user.name.is_none() {
        warn(user.location, "user has no name", findings);
    }
    if let Some(hash) = &user.passwd
        && !hash.text.starts_with(['$', '*', '!'])
    {
        warn(hash.location, "passwd must be a hash, which starts with '$'", findings);
    }
    for key in &user.ssh_authorized_keys {
        keys::check(key, findings);
    }
    for import in &user.imports {
        let scheme = import.text.text.get(..7).filter(|_| import.from == ImportFrom::Url);
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")) {
            let message = "keys that come over http can be changed on the way: use https";
            warn(import.text.location, message, findings);
        }
    }
}

fn check_file(file: &File, findings: &mut Vec<Finding>) {
    if let Some(path) = &file.path
        && !path.text.starts_with('/')
    {
        warn(path.location, format!("path {:?} is not absolute", path.text), findings);
    }
    if let Some(permissions) = &file.permissions
        && let Some((decimal, octal)) =
            DECIMAL_MODES.iter().find(|(decimal, _)| *decimal == &*permissions.text)
    {
        let message = format!("permissions {decimal} are read as octal (did you mean {octal}?)");
        let fix = Fix::new(permissions.location, *decimal, format!("\"{octal}\""));
        findings.push(Finding::new(Severity::Warning, permissions.location, message).with_fix(Some(fix)));
    }
    let encoding = file.encoding.as_ref().and_then(|encoding| ContentEncoding::parse(&encoding.text));
    if let (Some(encoding), Some(content)) = (encoding, &file.content)
        && encoding.base64
        && decode_base64(&content.bytes).is_ok_and(|decoded| !decoded.strict)
    {
        warn(content.location, "content is not standard base64 with padding", findings);
    }
    if let Some(source) = &file.source
        && source.uri.is_none()
    {
        warn(source.location, "source has no uri: nothing is fetched", findings);
    }
    secrets::check(file, findings);
    files::check_firewall(file, findings);
}

/// All members of a cluster use the URL to bootstrap, so that an error keeps all of them from starting.
fn check_discovery(url: &Text, findings: &mut Vec<Finding>) {
    if !is_absolute_uri(&url.text) {
        warn(url.location, "discovery URL is not valid", findings);
    } else if url.text.contains(['<', '>']) {
        warn(url.location, "discovery URL still has a placeholder for its token", findings);
    }
}

fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return text.starts_with('/') };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
        && !text.contains(char::is_whitespace)
}
