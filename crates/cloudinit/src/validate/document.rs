//! One document: its kind, its text, its tree, its values.

use super::{rules, walk};
use crate::check;
use crate::config;
use crate::finding::{Finding, Severity, sort};
use crate::limits::MAX_FINDINGS;
use crate::user_data::{Kind, UserData, decode};
use crate::yaml::{self, Place};

/// Findings of raw user-data: gzip and base64 are undone, the kind is told, the text is checked. Sorted; line
/// and column count from one in the decoded text. [`Finding`] serializes as
/// `{"kind":"error","line":3,"column":1,"message":"..."}`.
pub fn validate(raw: &[u8]) -> Vec<Finding> {
    match decode(raw.to_vec()) {
        Ok(user_data) => validate_decoded(&user_data),
        Err(error) => vec![Finding::new(Severity::Error, Place::START, error.to_string())],
    }
}

/// As [`validate`], for user-data that is decoded already.
pub fn validate_decoded(user_data: &UserData) -> Vec<Finding> {
    let mut findings = Vec::new();
    if user_data.was_base64 {
        findings.push(Finding::new(Severity::Warning, Place::START, "user-data is base64 encoded"));
    }
    match &user_data.kind {
        Kind::Empty | Kind::Script | Kind::Ignition => {}
        Kind::CloudConfig => cloud_config(&user_data.text, &mut findings),
        Kind::Unknown(hint) => {
            let message = "must be \"#cloud-config\" or begin with \"#!\"";
            findings.push(Finding::new(Severity::Error, Place::START, message));
            findings.extend(hint.map(|hint| Finding::new(Severity::Info, Place::START, hint)));
        }
    }
    sort(&mut findings);
    findings.truncate(MAX_FINDINGS);
    findings
}

fn cloud_config(text: &[u8], findings: &mut Vec<Finding>) {
    let document = match yaml::read(text) {
        Ok(document) => document,
        Err(error) => {
            findings.push(Finding::new(Severity::Error, error.place, error.message));
            return;
        }
    };
    for note in &document.notes {
        findings.push(Finding::new(Severity::Warning, note.place, note.message.clone()));
    }
    rules::tokens(text, findings);
    let Some(root) = document.root.as_deref().filter(|root| !root.is_null()) else { return };
    if root.mapping().is_none() {
        findings.push(Finding::new(Severity::Error, root.place, "the document must be a mapping"));
        return;
    }
    walk::document(root, findings);
    let mut config = config::read(Some(root));
    rules::config(&config, findings);
    rules::without_tokens(&mut config);
    let refusals = match check::check(&config) {
        Ok(checked) => checked.left_out,
        Err(refusals) => refusals,
    };
    for refusal in refusals {
        findings.push(Finding::new(Severity::Error, refusal.place, refusal.finding));
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
