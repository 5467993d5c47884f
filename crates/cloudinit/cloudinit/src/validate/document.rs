//! Validates user-data: decodes it, detects its kind, and collects all findings.

use super::{rules, walk};
use crate::check;
use crate::config;
use crate::finding::{Finding, Severity, sort};
use crate::fix::Fix;
use crate::limits::MAX_FINDINGS;
use crate::multipart::{self, Content};
use crate::schema::DOCUMENT;
use crate::user_data::{CLOUD_CONFIG_HEADER, Kind, UserData, decode};
use crate::yaml::{self, Location, Node};

/// Validates raw user-data, after decoding gzip and base64. Findings are sorted; line and column start at 1
/// in the decoded text. [`Finding`] serializes as `{"kind":"error","line":3,"column":1,"message":"..."}`.
pub fn validate(raw: &[u8]) -> Vec<Finding> {
    match decode(raw.to_vec()) {
        Ok(user_data) => validate_decoded(&user_data),
        Err(error) => vec![Finding::new(Severity::Error, Location::START, error.to_string())],
    }
}

/// As [`validate`], for decoded user-data.
pub fn validate_decoded(user_data: &UserData) -> Vec<Finding> {
    let mut findings = collect_findings(user_data);
    findings.retain(|finding| !finding.original_only);
    findings
}

/// As [`validate`], plus findings of the original validator about services that it no longer shipped.
pub fn validate_as_original(raw: &[u8]) -> Vec<Finding> {
    match decode(raw.to_vec()) {
        Ok(user_data) => collect_findings(&user_data),
        Err(error) => vec![Finding::new(Severity::Error, Location::START, error.to_string())],
    }
}

fn collect_findings(user_data: &UserData) -> Vec<Finding> {
    let mut findings = Vec::new();
    if user_data.was_base64 {
        findings.push(Finding::new(Severity::Warning, Location::START, "user-data is base64 encoded"));
    }
    match &user_data.kind {
        Kind::Empty | Kind::Script | Kind::Ignition => {}
        Kind::CloudConfig => cloud_config(&user_data.text, &mut findings),
        Kind::Multipart => parts(&user_data.text, &mut findings),
        Kind::Unknown(hint) => {
            let message = "must be \"#cloud-config\" or begin with \"#!\"";
            let fix = lacks_only_header(&user_data.text)
                .then(|| Fix::new(Location::START, "", format!("{CLOUD_CONFIG_HEADER}\n")));
            findings.push(Finding::new(Severity::Error, Location::START, message).with_fix(fix));
            findings.extend(hint.map(|hint| Finding::new(Severity::Info, Location::START, hint)));
        }
    }
    sort(&mut findings);
    findings.truncate(MAX_FINDINGS);
    confirm_fixes(&mut findings, &user_data.text);
    findings
}

fn confirm_fixes(findings: &mut [Finding], text: &[u8]) {
    if findings.iter().all(|finding| finding.fix.is_none()) {
        return;
    }
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.split('\n').collect();
    for finding in findings {
        finding.fix = finding.fix.take().and_then(|fix| fix.confirmed(&lines));
    }
}

/// Whether only the header line is missing for a valid cloud-config.
fn lacks_only_header(text: &[u8]) -> bool {
    let Ok(document) = yaml::read(text) else { return false };
    let root = document.root.as_deref().and_then(Node::mapping);
    root.is_some_and(|root| DOCUMENT.iter().any(|key| root.get(key.name).is_some()))
}

/// Findings in unencoded parts are located in the whole text. Findings in encoded parts are located at the
/// part's first line, with the line inside the part in the message.
fn parts(text: &[u8], findings: &mut Vec<Finding>) {
    let multipart = multipart::read(text);
    for (kind, notes) in [(Severity::Warning, &multipart.warnings), (Severity::Error, &multipart.errors)] {
        findings.extend(
            notes.iter().map(|note| Finding::new(kind, location_of_line(note.line), note.message.clone())),
        );
    }
    for part in &multipart.parts {
        if findings.len() > MAX_FINDINGS {
            return;
        }
        let name = &part.name;
        match &part.content {
            Content::Empty | Content::Script(_) => {}
            Content::Ignored(reason) => {
                findings.push(Finding::new(
                    Severity::Info,
                    location_of_line(part.line),
                    format!("{name}: {reason}"),
                ));
            }
            Content::Failed(reason) => {
                findings.push(Finding::new(
                    Severity::Error,
                    location_of_line(part.line),
                    format!("{name}: {reason}"),
                ));
            }
            Content::CloudConfig(text) => {
                let mut own = Vec::new();
                cloud_config(text, &mut own);
                findings.extend(own.into_iter().map(|finding| {
                    if part.is_verbatim {
                        let before = part.line - 1;
                        let fix = finding.fix.map(|fix| Fix { line: before + fix.line, ..fix });
                        return Finding { line: before + finding.line, fix, ..finding };
                    }
                    let message = format!("{name}, line {}: {}", finding.line, finding.message);
                    Finding { line: part.line, column: 1, message, fix: None, ..finding }
                }));
            }
        }
    }
}

fn location_of_line(line: u32) -> Location {
    Location { line, ..Location::START }
}

fn cloud_config(text: &[u8], findings: &mut Vec<Finding>) {
    let document = match yaml::read(text) {
        Ok(document) => document,
        Err(error) => {
            findings.push(Finding::new(Severity::Error, error.location, error.message));
            return;
        }
    };
    for note in &document.notes {
        findings.push(Finding::new(Severity::Warning, note.location, note.message.clone()));
    }
    rules::tokens(text, findings);
    let Some(root) = document.root.as_deref().filter(|root| !root.is_null()) else { return };
    if root.mapping().is_none() {
        findings.push(Finding::new(Severity::Error, root.location, "the document must be a mapping"));
        return;
    }
    walk::document(root, findings);
    let mut config = config::read(Some(root));
    rules::config(&config, findings);
    rules::remove_tokens(&mut config);
    let refusals = match check::check(&config) {
        Ok(checked) => checked.skipped,
        Err(refusals) => refusals,
    };
    for refusal in refusals {
        findings.push(Finding::new(Severity::Error, refusal.location, refusal.finding));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
