//! Evaluates the command line: the task to run, or an error with its exit code.

use std::path::PathBuf;

use serde::Serialize;

use crate::check::{self, CheckError};
use crate::config::Config;
use crate::config_file;
use crate::facts::Facts;
use crate::flag::syntax::{self, SyntaxError};
use crate::raw_config::{RawConfig, RawConfigError, Source};
use crate::{completion, help};

/// Exit code of an invalid command line.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a valid command line that cannot be executed.
pub const EXIT_FAILED: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Text for stdout: help, completions, `-dry-run`.
    Print(String),
    /// The program adds its build information; line 1 is `etcd Version: <reported_version>`.
    Version {
        reported_version: String,
    },
    Run {
        config: Box<Config>,
        warnings: Vec<String>,
    },
}

/// Text for stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLineError {
    pub exit: u8,
    pub text: String,
}

/// Files whose contents must be passed in `Facts::files`: `-config-file` and `-peers-file`. Empty if the command line
/// is invalid; [`read`] then returns the error.
pub fn required_files(facts: &Facts) -> Vec<PathBuf> {
    let Ok(raw) = RawConfig::read(facts) else { return Vec::new() };
    if let Some(path) = raw.text("config-file") {
        let path = PathBuf::from(path);
        let inner = config_file::apply(&raw, facts).ok().and_then(|raw| raw.text("peers-file"));
        return std::iter::once(path).chain(inner.map(PathBuf::from)).collect();
    }
    raw.text("peers-file").map(PathBuf::from).into_iter().collect()
}

/// Evaluates flags, environment and files.
pub fn read(facts: &Facts) -> Result<Task, CommandLineError> {
    let raw = RawConfig::read(facts).map_err(|error| raw_config_error(&error))?;
    if raw.switch("help") || raw.switch("h") {
        return Ok(Task::Print(help::text()));
    }
    if raw.switch("version") {
        return Ok(Task::Version { reported_version: raw.text("report-version").unwrap_or_default() });
    }
    if let Some(script) = raw.text("completion").and_then(|shell| completion::script(&shell)) {
        return Ok(Task::Print(script));
    }
    let raw = config_file::apply(&raw, facts)
        .map_err(|error| CommandLineError { exit: EXIT_FAILED, text: format!("error: {error}\n") })?;
    let (config, warnings) = check::check(&raw, facts).map_err(|error| check_error(&error))?;
    if raw.switch("dry-run") {
        return Ok(Task::Print(dry_run(&raw, &config, &warnings)));
    }
    Ok(Task::Run { config: Box::new(config), warnings })
}

fn raw_config_error(error: &RawConfigError) -> CommandLineError {
    match error {
        RawConfigError::Syntax(syntax) => CommandLineError { exit: EXIT_USAGE, text: syntax_error(syntax) },
        RawConfigError::UnexpectedArgument(_) => verification_error(&error.to_string()),
        RawConfigError::Environment { .. } => {
            CommandLineError { exit: EXIT_FAILED, text: format!("{error}\n") }
        }
    }
}

fn syntax_error(error: &SyntaxError) -> String {
    let hint = match error {
        SyntaxError::Unknown(name) => syntax::nearest(name),
        _ => None,
    };
    let hint = hint.map(|name| format!("hint: did you mean -{name}?\n")).unwrap_or_default();
    format!("{error}\n{hint}{}", help::USAGE)
}

fn check_error(error: &CheckError) -> CommandLineError {
    let mut failure = verification_error(&error.to_string());
    if *error == CheckError::NotAdvertised {
        failure.text.push_str(
            "hint: clients that follow the member list must be told an address that they can reach.\n",
        );
    }
    failure
}

fn verification_error(what: &str) -> CommandLineError {
    CommandLineError {
        exit: EXIT_FAILED,
        text: format!("error verifying flags, {what}. See 'etcd --help'.\n"),
    }
}

#[derive(Serialize)]
struct DryRun<'a> {
    config: &'a Config,
    #[serde(rename = "given")]
    sources: Vec<(&'static str, String)>,
    warnings: &'a [String],
}

/// The effective configuration and the source of each flag, as JSON. Contains no secrets: keys are paths.
fn dry_run(raw: &RawConfig, config: &Config, warnings: &[String]) -> String {
    let sources = raw
        .sources()
        .map(|(name, source)| {
            let source = match source {
                Source::CommandLine => "command line".to_owned(),
                Source::Environment(variable) => variable.clone(),
                Source::File => "config file".to_owned(),
            };
            (name, source)
        })
        .collect();
    let report = DryRun { config, sources, warnings };
    match serde_json::to_string_pretty(&report) {
        Ok(text) => text + "\n",
        Err(error) => format!("{{\"error\":\"{error}\"}}\n"),
    }
}
