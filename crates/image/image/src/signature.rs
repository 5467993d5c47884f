//! Verifies the signatures of the programs that the firmware runs.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use sandbox::Sandbox;

use crate::tool::{ToolError, run};

/// Start of sbverify's list of signatures.
const SIGNED_MARKER: &str = "signature 1";
/// sbverify's message if a program was modified after it was signed.
const MISMATCH_MESSAGE: &str = "Hash doesn't match image";

#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM files: a signed program must be signed with one of them. If empty, the signer is reported only.
    pub certificates: Vec<PathBuf>,
    /// Whether an unsigned program is an error.
    pub required: bool,
}

/// Result for one program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Unsigned,
    /// Modified after it was signed.
    Broken,
    /// Signed with an untrusted key.
    Untrusted(String),
    /// Signed; there are no trusted certificates to compare with.
    Unchecked(String),
    Trusted(String),
}

impl Finding {
    fn is_accepted(&self, trust: &Trust) -> bool {
        match self {
            Self::Unsigned => !trust.required,
            Self::Broken | Self::Untrusted(_) => false,
            Self::Unchecked(_) | Self::Trusted(_) => true,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unsigned => "not signed: a development image".to_owned(),
            Self::Broken => "modified after it was signed".to_owned(),
            Self::Untrusted(signer_name) => format!("signed by {signer_name}, which is not trusted"),
            Self::Unchecked(signer_name) => {
                format!("signed by {signer_name}; not verified without a certificate (--certificate)")
            }
            Self::Trusted(signer_name) => format!("signed by {signer_name}"),
        }
    }
}

/// Verifies `programs`; returns whether all are accepted, and a description.
pub fn check(programs: &[PathBuf], trust: &Trust, tools: &Sandbox) -> Result<(bool, String), ToolError> {
    let mut is_accepted = true;
    let mut details: Vec<(String, String)> = Vec::new();
    for program in programs {
        let finding = inspect(program, trust, tools)?;
        is_accepted &= finding.is_accepted(trust);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match details.iter_mut().find(|(_, detail)| *detail == finding.detail()) {
            Some((names, _)) => *names += &format!(", {name}"),
            None => details.push((name, finding.detail())),
        }
    }
    let details: Vec<String> =
        details.into_iter().map(|(names, detail)| format!("{names}: {detail}")).collect();
    Ok((is_accepted, details.join("; ")))
}

fn inspect(program: &Path, trust: &Trust, tools: &Sandbox) -> Result<Finding, ToolError> {
    let listing = output_of(run(tools.command("sbverify")?.arg("--list").arg(program)))?;
    let Some(signer_name) = signer(&listing) else { return Ok(Finding::Unsigned) };
    // Without a certificate sbverify always fails, but reports whether the content matches.
    if output_of(run(tools.command("sbverify")?.arg(program)))?.contains(MISMATCH_MESSAGE) {
        return Ok(Finding::Broken);
    }
    if trust.certificates.is_empty() {
        return Ok(Finding::Unchecked(signer_name));
    }
    for certificate in &trust.certificates {
        // The certificate may be anywhere, and its path is relative to the caller's folder.
        let certificate = certificate.canonicalize().unwrap_or_else(|_| certificate.clone());
        let tools = certificate.parent().map_or_else(|| tools.clone(), |folder| tools.clone().share(folder));
        match run(tools.command("sbverify")?.arg("--cert").arg(&certificate).arg(program)) {
            Ok(_) => return Ok(Finding::Trusted(signer_name)),
            Err(ToolError::Failed { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(Finding::Untrusted(signer_name))
}

/// DER of a PEM certificate; empty if the text is invalid.
pub fn der(pem: &str) -> Vec<u8> {
    let body =
        pem.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let text: String = body.map(|(body, _)| body.split_whitespace().collect()).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// A tool's output, even if it failed.
fn output_of(outcome: Result<String, ToolError>) -> Result<String, ToolError> {
    match outcome {
        Err(ToolError::Failed { output, .. }) => Ok(output),
        other => other,
    }
}

/// The signer according to sbverify's list: the first certificate's subject.
fn signer(listing: &str) -> Option<String> {
    listing.contains(SIGNED_MARKER).then(|| {
        let subject = listing.lines().find_map(|line| line.trim().strip_prefix("- subject: "));
        subject.unwrap_or("an unknown key").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_is_parsed_from_the_list() {
        let signed = "warning: data remaining[1 vs 2]: gaps between PE/COFF sections?\nsignature 1\n\
            image signature issuers:\n - /CN=one\nimage signature certificates:\n - subject: /CN=two\n   \
            issuer:  /CN=one\n";
        assert_eq!(signer(signed).as_deref(), Some("/CN=two"));
        assert_eq!(signer("No signature table present\n"), None);
        assert_eq!(signer("signature 1\n").as_deref(), Some("an unknown key"));
    }

    #[test]
    fn a_pem_certificate_is_decoded() {
        let text = "subject=x\n-----BEGIN CERTIFICATE-----\nAQID\nBAUG\n-----END CERTIFICATE-----\n";
        assert_eq!(der(text), [1, 2, 3, 4, 5, 6]);
        assert!(der("AQID").is_empty() && der(&text.replace("AQID", "A!ID")).is_empty());
    }

    #[test]
    fn acceptance_depends_on_whether_a_signature_is_required() {
        let signer_name = || "x".to_owned();
        let check = |finding: Finding, optional: bool, required: bool| {
            for (trust, expect) in [(false, optional), (true, required)] {
                let trust = Trust { required: trust, ..Trust::default() };
                assert_eq!(finding.is_accepted(&trust), expect, "{finding:?} {trust:?}");
            }
        };
        check(Finding::Unsigned, true, false);
        check(Finding::Broken, false, false);
        check(Finding::Untrusted(signer_name()), false, false);
        check(Finding::Unchecked(signer_name()), true, true);
        check(Finding::Trusted(signer_name()), true, true);
    }
}
