//! The command line as a whole: facts -> what to do, or why not, with the exit code.

use std::path::PathBuf;

use serde::Serialize;

use crate::check::{self, CheckError};
use crate::config::Config;
use crate::config_file;
use crate::facts::Facts;
use crate::flag::syntax::{self, SyntaxError};
use crate::low::{Low, LowError, Source};
use crate::{completion, help};

/// Wrong use: what was written is no command line.
pub const EXIT_USAGE: u8 = 2;
/// What was written cannot be done.
pub const EXIT_FAILED: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// To stdout, exit 0: help, completions, `-dry-run`.
    Print(String),
    /// The program knows what it was built from: line 1 is `etcd Version: <reported_version>`.
    Version {
        reported_version: String,
    },
    Run {
        config: Box<Config>,
        warnings: Vec<String>,
    },
}

/// To stderr, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub exit: u8,
    pub text: String,
}

/// The files whose content must be among the facts: `-config-file` and `-peers-file`. Empty when the command
/// line is not readable; [`read`] then says why.
pub fn files_wanted(facts: &Facts) -> Vec<PathBuf> {
    let Ok(low) = Low::read(facts) else { return Vec::new() };
    if let Some(path) = low.text("config-file") {
        let path = PathBuf::from(path);
        let inner = config_file::apply(&low, facts).ok().and_then(|low| low.text("peers-file"));
        return std::iter::once(path).chain(inner.map(PathBuf::from)).collect();
    }
    low.text("peers-file").map(PathBuf::from).into_iter().collect()
}

/// The whole way: flags, environment, files -> a task.
pub fn read(facts: &Facts) -> Result<Task, Refusal> {
    let low = Low::read(facts).map_err(|error| refuse_low(&error))?;
    if low.switch("help") || low.switch("h") {
        return Ok(Task::Print(help::text()));
    }
    if low.switch("version") {
        return Ok(Task::Version { reported_version: low.text("report-version").unwrap_or_default() });
    }
    if let Some(script) = low.text("completion").and_then(|shell| completion::script(&shell)) {
        return Ok(Task::Print(script));
    }
    let low = config_file::apply(&low, facts)
        .map_err(|error| Refusal { exit: EXIT_FAILED, text: format!("error: {error}\n") })?;
    let (config, warnings) = check::check(&low, facts).map_err(|error| refuse_check(&error))?;
    if low.switch("dry-run") {
        return Ok(Task::Print(dry_run(&low, &config, &warnings)));
    }
    Ok(Task::Run { config: Box::new(config), warnings })
}

fn refuse_low(error: &LowError) -> Refusal {
    match error {
        LowError::Syntax(syntax) => Refusal { exit: EXIT_USAGE, text: refuse_syntax(syntax) },
        LowError::LeftOver(_) => verifying(&error.to_string()),
        LowError::Environment { .. } => Refusal { exit: EXIT_FAILED, text: format!("{error}\n") },
    }
}

fn refuse_syntax(error: &SyntaxError) -> String {
    let hint = match error {
        SyntaxError::Unknown(name) => syntax::nearest(name),
        _ => None,
    };
    let hint = hint.map(|name| format!("hint: did you mean -{name}?\n")).unwrap_or_default();
    format!("{error}\n{hint}{}", help::USAGE)
}

fn refuse_check(error: &CheckError) -> Refusal {
    let mut refusal = verifying(&error.to_string());
    if *error == CheckError::NotAdvertised {
        refusal.text.push_str(
            "hint: clients that follow the member list must be told an address that they can reach.\n",
        );
    }
    refusal
}

fn verifying(what: &str) -> Refusal {
    Refusal { exit: EXIT_FAILED, text: format!("error verifying flags, {what}. See 'etcd --help'.\n") }
}

#[derive(Serialize)]
struct DryRun<'a> {
    config: &'a Config,
    given: Vec<(&'static str, String)>,
    warnings: &'a [String],
}

/// What would be in effect, and where each given flag came from. Holds no secrets: keys are named by path.
fn dry_run(low: &Low, config: &Config, warnings: &[String]) -> String {
    let given = low
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
    let shown = DryRun { config, given, warnings };
    match serde_json::to_string_pretty(&shown) {
        Ok(text) => text + "\n",
        Err(error) => format!("{{\"error\":\"{error}\"}}\n"),
    }
}
