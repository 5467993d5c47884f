//! `keelson validate`: checks a cloud-config like the node's `coreos-cloudinit -validate`, serves the check over
//! HTTP, or prints the JSON schema.
//!
//! The check is in the crate `cloudinit`.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use cloudinit::{Finding, Severity};
use machines::limits::USER_DATA_MAX;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::output;

/// Longest input line that is printed with a finding.
const LINE_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Cloud-config file, or - for standard input
    #[arg(required_unless_present_any = ["serve", "schema"], conflicts_with_all = ["serve", "schema"])]
    file: Option<PathBuf>,
    /// Print the steps that a new machine would perform, one JSON object per line, instead of the findings
    #[arg(long, requires = "file", conflicts_with = "json")]
    plan: bool,
    /// Serve the validator: a web page at /, the API of the CoreOS validator at /validate
    #[arg(
        long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8040", conflicts_with = "schema"
    )]
    serve: Option<SocketAddr>,
    /// Print the JSON schema of cloud-config, for editors
    #[arg(long)]
    schema: bool,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    if let Some(address) = flags.serve {
        serve(context, address)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(file) = &flags.file else {
        output::print_json(&cloudinit::json_schema())?;
        return Ok(ExitCode::SUCCESS);
    };
    let text = read(file)?;
    if flags.plan {
        return plan(file, &text);
    }
    let findings = cloudinit::validate(&text);
    let failed = findings.iter().any(|finding| finding.kind == Severity::Error);
    if context.json {
        output::print_json(&document(&findings))?;
    } else {
        output::print(report(&file.display().to_string(), &text, &findings))?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Findings go to stderr; stdout contains the steps only.
fn plan(file: &Path, text: &[u8]) -> anyhow::Result<ExitCode> {
    let preview = cloudinit::preview(text);
    eprint!("{}", report(&file.display().to_string(), text, &preview.findings));
    let Some(plan) = preview.plan else {
        bail!("{} is invalid: a machine would apply none of it", file.display())
    };
    output::print(cloudinit::plan::print(&plan)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Serves until it is interrupted.
#[tokio::main(flavor = "current_thread")]
async fn serve(context: &Context, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (set another address, such as --serve 127.0.0.1:9000)")
    })?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let url = format!("http://{}/", listener.local_addr()?);
    if context.json {
        output::print_json(&json!({ "url": url }))?;
    } else {
        output::print(format!("{url}\n"))?;
        eprintln!(
            "Open the URL in a browser, or run: curl -X PUT --data-binary @user-data {url}validate (Ctrl-C to stop)"
        );
    }
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    validator::serve(listener, stop).await;
    Ok(())
}

fn document(findings: &[Finding]) -> Value {
    let with_severity = |kind: Severity| -> Vec<Value> {
        let matching = findings.iter().filter(|finding| finding.kind == kind);
        matching.map(|f| json!({ "line": f.line, "column": f.column, "message": f.message })).collect()
    };
    json!({ "errors": with_severity(Severity::Error), "warnings": with_severity(Severity::Warning), "infos": with_severity(Severity::Info) })
}

/// `FILE:LINE:COLUMN: error: message`, followed by the line and a mark at the column.
fn report(name: &str, text: &[u8], findings: &[Finding]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut report = String::new();
    for Finding { kind, line, column, message, .. } in findings {
        report += &format!("{name}:{line}:{column}: {kind}: {message}\n");
        let index = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let source_line = text
            .lines()
            .nth(index)
            .filter(|source_line| !source_line.is_empty() && source_line.len() <= LINE_MAX);
        if let Some(source_line) = source_line {
            let before = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
            // Tabs are kept for the alignment of the mark.
            let space: String =
                source_line.chars().take(before).map(|c| if c == '\t' { c } else { ' ' }).collect();
            report += &format!("    {source_line}\n    {space}^\n");
        }
    }
    if findings.is_empty() {
        report += &format!("{name}: valid\n");
    }
    report
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let name = file.display();
    let count = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(USER_DATA_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(USER_DATA_MAX + 1).read_to_end(&mut bytes))
    };
    let count = count.with_context(|| format!("cannot read {name}"))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > USER_DATA_MAX {
        bail!("{name} has more than {USER_DATA_MAX} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_have_a_position_and_json_has_three_lists() {
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
    fn valid_input_is_reported() {
        let text = b"#cloud-config\nhostname: a\n";
        assert_eq!(report("-", text, &cloudinit::validate(text)), "-: valid\n");
    }
}
