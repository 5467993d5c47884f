//! A machine's boot from the network beside its boot from the disk: the scenario `netboot-time`, which prints the figures.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::figure::{figures, rows};
use crate::command::{require_success, show_and_read};
use crate::keelson;

const COMMAND: &str = "cargo xtask bench netboot";
const SCENARIO: &str = "netboot-time";

pub fn run(root: &Path) -> Result<bool> {
    let mut command = Command::new(keelson::build(root)?);
    // What operators serve: `image build` writes this profile.
    command.current_dir(root).args(["test", SCENARIO, "--on", "qemu", "--profile", "node"]);
    let ended = require_success(show_and_read(&mut command)?)?;
    let found = figures(&ended.stdout, COMMAND).with_context(|| format!("what {SCENARIO} printed"))?;
    print!("{}", rows(&found));
    Ok(true)
}
