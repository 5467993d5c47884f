//! Builds the `keelson` program and says where it lies, for checks that run it elsewhere than in this checkout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::command::{cargo, show_and_read};

/// A line of `cargo build --message-format json`; of the many kinds only what names a program.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// The built program. `cargo run` would do for most, but sets `CARGO` and wants to be in the checkout.
pub fn build(root: &Path) -> Result<PathBuf> {
    let words = ["build", "--locked", "--quiet", "--profile", "tool", "--package", "keelson"];
    let built = show_and_read(cargo(root, &words).arg("--message-format=json-render-diagnostics"))?;
    if !built.success {
        bail!("keelson could not be built");
    }
    executable(&built.stdout).context("cargo names no program keelson")
}

/// The last program that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    parsed.filter_map(|message| message.executable).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_the_last_that_cargo_names() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/tool/keelson\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some("/t/tool/keelson".into()));
        assert_eq!(executable(""), None);
    }
}
