//! `keelson completions` and `keelson man`, generated from the flags.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory;

use crate::cli::Cli;
use crate::output;

pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keelson", &mut script);
    output::print(script)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(out: Option<&Path>) -> anyhow::Result<ExitCode> {
    match out {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
                .with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .context("cannot generate the manual page")?;
            output::print(page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
