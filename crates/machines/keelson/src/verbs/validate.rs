//! `keelson validate`: checks a cloud-config as the node's own `coreos-cloudinit -validate` does; serves the same
//! check to others; prints the schema that editors complete from.
//!
//! The check is the crate `cloudinit`'s; this file reads the input and prints what was found.

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

/// Longest line of the input that is shown below a finding.
const LINE_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// File, or - for standard input
    #[arg(required_unless_present_any = ["serve", "schema"], conflicts_with_all = ["serve", "schema"])]
    file: Option<PathBuf>,
    /// Print what a new machine would do, one JSON object a line, instead of the findings
    #[arg(long, requires = "file", conflicts_with = "json")]
    plan: bool,
    /// Serve the validator: a page at /, the classic web API at /validate
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

/// What is wrong goes to stderr: stdout has the steps alone.
fn plan(file: &Path, text: &[u8]) -> anyhow::Result<ExitCode> {
    let preview = cloudinit::preview(text);
    eprint!("{}", report(&file.display().to_string(), text, &preview.findings));
    let Some(plan) = preview.plan else { bail!("nothing of {} would be applied", file.display()) };
    output::print(cloudinit::plan::print(&plan)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Until it is interrupted.
#[tokio::main(flavor = "current_thread")]
async fn serve(context: &Context, address: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: choose another address, as in --serve 127.0.0.1:9000")
    })?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let url = format!("http://{}/", listener.local_addr()?);
    if context.json {
        output::print_json(&json!({ "url": url }))?;
    } else {
        output::print(format!("{url}\n"))?;
        eprintln!(
            "Open it in a browser, or: curl -X PUT --data-binary @user-data {url}validate (Ctrl-C ends this)"
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
    for Finding { kind, line, column, message, .. } in findings {
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
