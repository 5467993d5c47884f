//! Whether the programs that the firmware runs are signed, by whom, and unbroken.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use sandbox::Sandbox;

use crate::tool::{ToolError, run};

/// How sbverify's list of signatures begins where there is one.
const FIRST: &str = "signature 1";
/// What sbverify says of a program that was changed after it was signed.
const CHANGED: &str = "Hash doesn't match image";

/// What is asked of signatures.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM files: a signed program must be signed with one of them; where there are none, who signed is only told.
    pub certificates: Vec<PathBuf>,
    /// An unsigned program is a fault.
    pub required: bool,
}

/// What was found out about one program.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    Unsigned,
    /// Signed, and changed since.
    Broken,
    /// By a key that is none of the trusted ones.
    Foreign(String),
    /// Nobody said whom to trust.
    Unchecked(String),
    Trusted(String),
}

impl Finding {
    fn holds(&self, trust: &Trust) -> bool {
        match self {
            Self::Unsigned => !trust.required,
            Self::Broken | Self::Foreign(_) => false,
            Self::Unchecked(_) | Self::Trusted(_) => true,
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Unsigned => "not signed: a developer's image".to_owned(),
            Self::Broken => "changed after it was signed".to_owned(),
            Self::Foreign(who) => format!("signed by {who}, who is not trusted"),
            Self::Unchecked(who) => {
                format!("signed by {who}; no certificate to check that with (--certificate)")
            }
            Self::Trusted(who) => format!("signed by {who}"),
        }
    }
}

/// Looks at `programs`; whether all hold, and what each of them is.
pub fn look(programs: &[PathBuf], trust: &Trust, tools: &Sandbox) -> Result<(bool, String), ToolError> {
    let mut holds = true;
    let mut details: Vec<(String, String)> = Vec::new();
    for program in programs {
        let finding = find(program, trust, tools)?;
        holds &= finding.holds(trust);
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match details.iter_mut().find(|(_, detail)| *detail == finding.detail()) {
            Some((names, _)) => *names += &format!(", {name}"),
            None => details.push((name, finding.detail())),
        }
    }
    let details: Vec<String> =
        details.into_iter().map(|(names, detail)| format!("{names}: {detail}")).collect();
    Ok((holds, details.join("; ")))
}

fn find(program: &Path, trust: &Trust, tools: &Sandbox) -> Result<Finding, ToolError> {
    let listing = said(run(tools.command("sbverify")?.arg("--list").arg(program)))?;
    let Some(who) = signer(&listing) else { return Ok(Finding::Unsigned) };
    // Without a certificate this always fails, and tells whether the content is what was signed.
    if said(run(tools.command("sbverify")?.arg(program)))?.contains(CHANGED) {
        return Ok(Finding::Broken);
    }
    if trust.certificates.is_empty() {
        return Ok(Finding::Unchecked(who));
    }
    for certificate in &trust.certificates {
        // It may stand anywhere, and what the caller named is relative to the caller.
        let certificate = certificate.canonicalize().unwrap_or_else(|_| certificate.clone());
        let tools = certificate.parent().map_or_else(|| tools.clone(), |folder| tools.clone().share(folder));
        match run(tools.command("sbverify")?.arg("--cert").arg(&certificate).arg(program)) {
            Ok(_) => return Ok(Finding::Trusted(who)),
            Err(ToolError::Failed { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(Finding::Foreign(who))
}

/// The bytes of a PEM certificate; none where the text is not one.
pub fn der(pem: &str) -> Vec<u8> {
    let body =
        pem.split_once("-----BEGIN CERTIFICATE-----").and_then(|(_, rest)| rest.split_once("-----END"));
    let text: String = body.map(|(body, _)| body.split_whitespace().collect()).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default()
}

/// What a tool said, whether it was content or not.
fn said(outcome: Result<String, ToolError>) -> Result<String, ToolError> {
    match outcome {
        Err(ToolError::Failed { output, .. }) => Ok(output),
        other => other,
    }
}

/// Who signed, by sbverify's list: the first certificate's subject.
fn signer(listing: &str) -> Option<String> {
    listing.contains(FIRST).then(|| {
        let subject = listing.lines().find_map(|line| line.trim().strip_prefix("- subject: "));
        subject.unwrap_or("an unknown key").to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signer_is_read_from_the_list() {
        let signed = "warning: data remaining[1 vs 2]: gaps between PE/COFF sections?\nsignature 1\n\
            image signature issuers:\n - /CN=one\nimage signature certificates:\n - subject: /CN=two\n   \
            issuer:  /CN=one\n";
        assert_eq!(signer(signed).as_deref(), Some("/CN=two"));
        assert_eq!(signer("No signature table present\n"), None);
        assert_eq!(signer("signature 1\n").as_deref(), Some("an unknown key"));
    }

    #[test]
    fn a_certificate_is_found_in_its_text() {
        let text = "subject=x\n-----BEGIN CERTIFICATE-----\nAQID\nBAUG\n-----END CERTIFICATE-----\n";
        assert_eq!(der(text), [1, 2, 3, 4, 5, 6]);
        assert!(der("AQID").is_empty() && der(&text.replace("AQID", "A!ID")).is_empty());
    }

    #[test]
    fn what_holds_depends_on_what_is_asked() {
        let who = || "x".to_owned();
        let check = |finding: Finding, usual: bool, required: bool| {
            for (trust, expect) in [(false, usual), (true, required)] {
                let trust = Trust { required: trust, ..Trust::default() };
                assert_eq!(finding.holds(&trust), expect, "{finding:?} {trust:?}");
            }
        };
        check(Finding::Unsigned, true, false);
        check(Finding::Broken, false, false);
        check(Finding::Foreign(who()), false, false);
        check(Finding::Unchecked(who()), true, true);
        check(Finding::Trusted(who()), true, true);
    }
}
