//! Finds secrets in files that other users can read.

use super::files::text;
use crate::config::File;
use crate::finding::{Finding, Severity};
use crate::schema::mode;

const DEFAULT_MODE: u32 = 0o644;
const OTHER_READ: u32 = 0o004;
/// Suffixes of setting names that denote a secret.
const SECRET_NAMES: [&str; 7] =
    ["password", "passphrase", "secret", "secret_key", "access_key", "api_key", "token"];

pub(super) fn check(file: &File, findings: &mut Vec<Finding>) {
    let permissions = file.permissions.as_ref();
    let mode = permissions.map_or(Some(DEFAULT_MODE), |permissions| mode(&permissions.text));
    let Some(mode) = mode.filter(|mode| mode & OTHER_READ != 0) else { return };
    let (Some(content), Some(text)) = (&file.content, text(file)) else { return };
    let Some(what) = text.lines().find_map(secret_kind) else { return };
    let location = permissions.map_or(content.location, |permissions| permissions.location);
    let message = format!("file holds {what} and with mode {mode:04o} everybody can read it");
    findings.push(Finding::new(Severity::Warning, location, message));
}

/// Returns the kind of secret in a line, never the secret itself.
fn secret_kind(line: &str) -> Option<&'static str> {
    let line = line.trim();
    if line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once(['=', ':'])?;
    // Also `Environment="NAME=value"` in units, and quoted JSON names.
    let (name, value) = match name.trim() {
        "Environment" => value.trim_start_matches(['"', '\'']).split_once('=')?,
        name => (name, value),
    };
    let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).to_ascii_lowercase();
    let name = name.replace('-', "_");
    let named = SECRET_NAMES.iter().any(|ending| {
        name.strip_suffix(ending).is_some_and(|before| before.is_empty() || before.ends_with(['_', '.', ' ']))
    });
    let value = value.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ','));
    // Paths, variables and placeholders are not secrets.
    let is_value = !value.is_empty() && !value.starts_with(['/', '$', '<', '{', '[', '|', '>', '%']);
    let is_not_literal =
        !matches!(&*value.to_ascii_lowercase(), "true" | "false" | "yes" | "no" | "none" | "null");
    (named && is_value && is_not_literal).then_some("a password or token")
}

#[cfg(test)]
mod tests {
    use super::secret_kind;

    #[test]
    fn lines() {
        for line in [
            "password=hunter2",
            "  DB_PASSWORD: \"hunter2\"",
            "Environment=\"REGISTRY_TOKEN=abc\"",
            "  \"api-key\": \"abc\",",
            "export AWS_SECRET_ACCESS_KEY=abc",
        ] {
            assert_eq!(secret_kind(line), Some("a password or token"), "{line}");
        }
        for kind in ["", "RSA ", "OPENSSH ", "ENCRYPTED "] {
            let line = format!("-----BEGIN {kind}PRIVATE KEY-----");
            assert_eq!(secret_kind(&line), Some("a private key"));
        }
        for line in [
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN PUBLIC KEY-----",
            "# password=x",
            "password=",
            "password: $PASSWORD",
            "password_file=/run/secrets/p",
            "token=/run/secrets/p",
            "PasswordAuthentication no",
            "passwd: files systemd",
            "password: false",
            "nottoken=x",
        ] {
            assert_eq!(secret_kind(line), None, "{line}");
        }
    }
}
