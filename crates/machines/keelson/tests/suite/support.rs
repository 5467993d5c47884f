//! Runs `keelson` with an empty environment, and its update server.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// `keelson` in `folder`, which is also the user's home directory.
pub fn keelson(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keelson"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    command.current_dir(folder);
    command
}

/// Starts `keelson serve-updates` on a free port, and returns its URL.
pub fn serve_updates(folder: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = keelson(folder)
        .args(["serve-updates", "--listen", "127.0.0.1:0", "--json"])
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !text.ends_with("}\n") {
        assert!(lines.read_line(&mut text).unwrap() > 0, "the server ended: {text}");
    }
    let value: Value = serde_json::from_str(&text).unwrap();
    (child, value["url"].as_str().unwrap().to_owned())
}
