//! `cargo xtask pictures`: renders the documentation's diagrams with Graphviz, and takes screenshots of the web pages.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{ignored_tests, show};

/// `NAME.dot` is rendered to `NAME.svg` in the same folder.
const FOLDER: &str = "docs/images";
/// Tells the tests `screenshot` where to write; as in crate `browser`.
const SCREENSHOTS: &str = "KEELSON_SCREENSHOTS";

pub fn run(root: &Path) -> Result<bool> {
    for entry in fs::read_dir(root.join(FOLDER)).with_context(|| format!("cannot list {FOLDER}"))? {
        let source = entry?.path();
        if source.extension().is_some_and(|end| end == "dot") {
            let mut dot = Command::new("dot");
            dot.arg("-Tsvg").arg(&source).arg("-o").arg(source.with_extension("svg"));
            if !show(&mut dot).context("hint: apt-get install graphviz")?.success {
                return Ok(false);
            }
        }
    }
    let mut screenshots = ignored_tests(root, &["--test", "suite"]);
    screenshots.arg("screenshot").env(SCREENSHOTS, root.join(FOLDER));
    Ok(show(&mut screenshots)?.success)
}
