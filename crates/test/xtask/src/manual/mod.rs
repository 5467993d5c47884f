//! `cargo xtask manual`: generates the reference pages of all programs from their `--help`.
//!
//! Each page becomes a Markdown file below [`PAGES`], which is part of the book, and a man page with the same text.

mod help;
mod programs;
mod render;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cargo_build;
use help::Page;
use programs::{PROGRAMS, Program};

/// The generated pages, below the checkout.
const PAGES: &str = "docs/reference/commands";
/// The book's table of contents: mdBook renders no page that it does not list.
const SUMMARY: &str = "docs/SUMMARY.md";

#[derive(Debug, Args)]
#[command(about = "Writes the reference pages of all programs")]
pub struct Flags {
    /// Also writes man pages below this folder (man1, man8)
    #[arg(long, value_name = "DIR")]
    man: Option<PathBuf>,
}

/// Writes the Markdown pages, and man pages if requested.
pub fn run(root: &Path, flags: &Flags) -> Result<bool> {
    let pages = collect(root)?;
    let folder = root.join(PAGES);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (program, page) in &pages {
        write(&folder.join(file_name(program)), &render::markdown(program, page))?;
        if let Some(man) = &flags.man {
            let folder = man.join(format!("man{}", program.section));
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
            write(
                &folder.join(format!("{}.{}", program.name, program.section)),
                &render::man(program, page),
            )?;
        }
    }
    Ok(true)
}

/// Returns whether the pages match the programs' output, and prints those that do not.
pub fn is_current(root: &Path) -> Result<bool> {
    let findings = findings(root)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(findings.is_empty())
}

/// Pages with outdated text, pages without a program, pages that the book omits.
fn findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    let summary = fs::read_to_string(root.join(SUMMARY)).with_context(|| format!("cannot read {SUMMARY}"))?;
    let mut known = Vec::new();
    for (program, page) in &collect(root)? {
        let name = file_name(program);
        if fs::read_to_string(root.join(PAGES).join(&name)).ok().as_deref()
            != Some(&*render::markdown(program, page))
        {
            findings.push(format!("{PAGES}/{name} is outdated: run `cargo xtask manual`"));
        }
        if !summary.contains(&format!("(reference/commands/{name})")) {
            findings.push(format!("{SUMMARY} does not list {PAGES}/{name}"));
        }
        known.push(name);
    }
    for entry in fs::read_dir(root.join(PAGES)).with_context(|| format!("cannot list {PAGES}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            findings.push(format!("{PAGES}/{name} is of no program"));
        }
    }
    Ok(findings)
}

fn file_name(program: &Program) -> String {
    format!("{}.md", program.name)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Builds the programs and reads the help of all their commands.
fn collect(root: &Path) -> Result<Vec<(&'static Program, Page)>> {
    let built = cargo_build::build_with_features_of_tests(root, &["--bins"])?;
    let mut pages = Vec::new();
    for program in &PROGRAMS {
        let page = help::read(cargo_build::named(&built, program.binary)?, program)
            .with_context(|| format!("the help of {}", program.name))?;
        if page.text.trim().is_empty() {
            bail!("{} --help prints nothing", program.name);
        }
        pages.push((program, page));
    }
    Ok(pages)
}
