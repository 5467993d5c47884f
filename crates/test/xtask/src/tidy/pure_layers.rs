//! Layers 0-2 are pure: their code uses no files, processes, sockets or clocks of std.

use anyhow::Result;

use super::finding::{Finding, Outcome};
use super::layers::{LAST_PURE, Layer};
use super::module_tree::{self, Module};
use crate::workspace::Workspace;

/// Path prefixes of I/O, and of inputs that a test cannot set.
const FORBIDDEN: [&[&str]; 11] = [
    &["std", "fs"],
    &["std", "env"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "UdpSocket"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "time", "Instant", "now"],
    &["std", "time", "SystemTime", "now"],
];

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let Some(Layer::Numbered(number @ 0..=LAST_PURE)) = Layer::of(package) else { continue };
        for target in package.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "lib")) {
            for module in module_tree::read(&target.src_path)? {
                let mut worlds: Vec<_> =
                    module.named.iter().filter_map(|path| forbidden_prefix(&module, path)).collect();
                worlds.sort();
                worlds.dedup();
                let location = workspace.relative(&module.file);
                findings.extend(worlds.into_iter().map(|path| {
                    Finding::new(
                        location.clone(),
                        format!("layer {number} names {path}: take it as an argument"),
                    )
                }));
            }
        }
    }
    Ok(Outcome::of(findings))
}

/// The forbidden prefix of `path`, after resolving its first segment through the imports.
fn forbidden_prefix(module: &Module, path: &[String]) -> Option<String> {
    let imported = path.first().and_then(|first| module.imports.get(first));
    let full: Vec<_> = match imported {
        Some(start) => start.iter().chain(&path[1..]).collect(),
        None => path.iter().collect(),
    };
    FORBIDDEN
        .iter()
        .find(|world| full.len() >= world.len() && world.iter().zip(&full).all(|(word, name)| word == *name))
        .map(|world| world.join("::"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::with_crate;

    fn check_layer(layer: u64, text: &str, expected: &[&str]) {
        let made = with_crate("c", json!(layer), &[("src/lib.rs", text)]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn files_and_clocks_are_found_however_they_are_named() {
        let text =
            "use std::{fs, time::Instant}; fn f() { fs::read(p); Instant::now(); std::process::exit(1) }";
        check_layer(
            2,
            text,
            &[
                "layer 2 names std::fs: take it as an argument",
                "layer 2 names std::process: take it as an argument",
                "layer 2 names std::time::Instant::now: take it as an argument",
            ],
        );
        check_layer(3, text, &[]);
    }

    #[test]
    fn types_of_time_and_addresses_and_what_tests_do_pass() {
        check_layer(
            1,
            "use std::net::IpAddr; use std::time::Duration; #[cfg(test)] mod tests { use std::fs; }",
            &[],
        );
    }
}
