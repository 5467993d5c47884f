//! Raw flags to a checked request.

use std::path::PathBuf;

use super::parse::{self, Raw, UsageError};
use super::table;
use crate::datasource::{Source, Url};

/// Below the root.
const KERNEL_COMMAND_LINE: &str = "proc/cmdline";
pub const STDIN: &str = "-";
const VALIDATE_FORMATS: [&str; 2] = ["text", "json"];

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Help,
    Version,
    Status,
    Validate { json: bool },
    Plan,
    Apply,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub task: Task,
    pub sources: Vec<Source>,
    pub root: PathBuf,
    /// Run helpers and call systemd although the root is not `/`.
    pub root_run: bool,
    pub ignore_failure: bool,
    pub once: bool,
    pub persist: bool,
    /// Below the root.
    pub workspace: String,
    pub ssh_key_name: String,
}

/// # Errors
/// What is wrong with the arguments, and where that is to be said.
pub fn parse(arguments: &[String]) -> Result<Request, UsageError> {
    let raw = parse::parse(arguments)?;
    let mut request = Request {
        task: task(&raw),
        sources: Vec::new(),
        root: PathBuf::from(raw.text("root")),
        root_run: raw.is_set("root-run"),
        ignore_failure: raw.is_set("ignore-failure"),
        once: raw.is_set("once"),
        persist: raw.is_set("persist"),
        workspace: raw.text("workspace").to_owned(),
        ssh_key_name: raw.text("ssh-key-name").to_owned(),
    };
    if request.task == Task::Help {
        return Ok(request);
    }
    check_preset(&raw)?;
    if matches!(request.task, Task::Version | Task::Status) {
        return Ok(request);
    }
    check_values(&raw)?;
    request.sources = sources(&raw)?;
    Ok(request)
}

fn task(raw: &Raw) -> Task {
    let tasks = [
        (raw.help, Task::Help),
        (raw.is_set("version"), Task::Version),
        (raw.is_set("status"), Task::Status),
        (raw.is_set("validate"), Task::Validate { json: raw.text("validate-format") == "json" }),
        (raw.is_set("plan") || raw.is_set("dry-run"), Task::Plan),
    ];
    tasks.into_iter().find(|(asked, _)| *asked).map_or(Task::Apply, |(_, task)| task)
}

fn check_preset(raw: &Raw) -> Result<(), UsageError> {
    let preset = raw.text("oem");
    if !preset.is_empty() && !table::PRESETS.contains(&preset) {
        let names: Vec<_> = table::PRESETS.iter().map(|name| format!("{name:?}")).collect();
        return Err(UsageError::Value(format!(
            "Invalid option to -oem: {preset:?}. Supported options: [{}]",
            names.join(" ")
        )));
    }
    Ok(())
}

fn check_values(raw: &Raw) -> Result<(), UsageError> {
    let network = raw.text("convert-netconf");
    if !network.is_empty() && !table::NETWORK_FORMATS.contains(&network) {
        return Err(UsageError::Value(format!(
            "Invalid option to -convert-netconf: '{network}'. Supported options: '{}'",
            table::NETWORK_FORMATS.join(", ")
        )));
    }
    let format = raw.text("validate-format");
    if !VALIDATE_FORMATS.contains(&format) {
        return Err(UsageError::Value(format!(
            "Invalid option to -validate-format: '{format}'. Supported options: 'text, json'"
        )));
    }
    let name = raw.text("ssh-key-name");
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']) {
        return Err(UsageError::Value(format!("Invalid option to -ssh-key-name: '{name}' is no file name")));
    }
    for (name, reason) in table::LATER {
        if raw.is_given(name) {
            return Err(UsageError::Value(format!("-{name} is not supported yet: {reason}")));
        }
    }
    Ok(())
}

/// In the order of the flags' table, which decides between sources that are there at once.
fn sources(raw: &Raw) -> Result<Vec<Source>, UsageError> {
    let mut sources = Vec::new();
    match raw.text("from-file") {
        "" => {}
        STDIN => sources.push(Source::Stdin),
        path => sources.push(Source::File(path.into())),
    }
    match raw.text("from-configdrive") {
        "" => {}
        path => sources.push(Source::ConfigDrive(path.into())),
    }
    match raw.text("from-url") {
        "" => {}
        url => sources.push(Source::Url(Url::new(url))),
    }
    if raw.is_set("from-proc-cmdline") {
        sources.push(Source::KernelCommandLine(PathBuf::from(raw.text("root")).join(KERNEL_COMMAND_LINE)));
    }
    if raw.is_set("from-fw-cfg") {
        sources.push(Source::FwCfg);
    }
    if sources.is_empty() {
        return Err(UsageError::Value(
            "Provide at least one of --from-file, --from-configdrive, --from-url, --from-proc-cmdline, --from-fw-cfg".to_owned(),
        ));
    }
    Ok(sources)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
