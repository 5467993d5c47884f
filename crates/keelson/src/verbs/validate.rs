//! `keelson validate`: checks a cloud-config as the node's own `coreos-cloudinit -validate` does.
//!
//! The check is the crate `cloudinit`'s; this file reads the input and prints what was found.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cloudinit::{Finding, Severity};
use machines::limits::USER_DATA_MAX;
use serde_json::{Value, json};

use crate::context::Context;
use crate::output;

/// Longest line of the input that is shown below a finding.
const LINE_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// File, or - for standard input
    file: PathBuf,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let text = read(flags)?;
    let findings = cloudinit::validate(&text);
    let failed = findings.iter().any(|finding| finding.kind == Severity::Error);
    if context.json {
        output::print_json(&document(&findings))?;
    } else {
        output::print(report(&flags.file.display().to_string(), &text, &findings))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn document(findings: &[Finding]) -> Value {
    let of = |kind: Severity| -> Vec<Value> {
        let those = findings.iter().filter(|finding| finding.kind == kind);
        those.map(|f| json!({ "line": f.line, "column": f.column, "message": f.message })).collect()
    };
    json!({ "errors": of(Severity::Error), "warnings": of(Severity::Warning), "infos": of(Severity::Info) })
}

/// `FILE:LINE:COLUMN: error: message`, and below it the line with a mark under the place.
fn report(name: &str, text: &[u8], findings: &[Finding]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut report = String::new();
    for Finding { kind, line, column, message } in findings {
        report += &format!("{name}:{line}:{column}: {kind}: {message}\n");
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let shown = text.lines().nth(index).filter(|shown| !shown.is_empty() && shown.len() <= LINE_MAX);
        if let Some(shown) = shown {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            // Tabs stay tabs, so that the mark stands under its place.
            let space: String = shown.chars().take(before).map(|c| if c == '\t' { c } else { ' ' }).collect();
            report += &format!("    {shown}\n    {space}^\n");
        }
    }
    if findings.is_empty() {
        report += &format!("{name}: valid\n");
    }
    report
}

fn read(flags: &Flags) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let name = flags.file.display();
    let count = if flags.file.as_os_str() == "-" {
        std::io::stdin().lock().take(USER_DATA_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(&flags.file).and_then(|file| file.take(USER_DATA_MAX + 1).read_to_end(&mut bytes))
    };
    let count = count.with_context(|| format!("can not read {name}"))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > USER_DATA_MAX {
        bail!("{name} has more than {USER_DATA_MAX} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_place_and_the_document_has_three_lists() {
        let text = b"#cloud-config\nhostname: a\nwrite_files:\n\t- path: /etc/x\n";
        let findings = cloudinit::validate(text);
        let report = report("user-data", text, &findings);
        assert!(report.starts_with("user-data:4:"), "{report}");
        assert!(report.contains("\n    \t- path: /etc/x\n    "), "{report}");
        let value = document(&findings);
        assert_eq!(value["errors"][0]["line"], 4);
        assert!(value["warnings"].is_array() && value["infos"].is_array());
    }

    #[test]
    fn what_is_valid_is_called_so() {
        let text = b"#cloud-config\nhostname: a\n";
        assert_eq!(report("-", text, &cloudinit::validate(text)), "-: valid\n");
    }
}
