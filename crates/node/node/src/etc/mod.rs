//! `keelson-etc`: what this machine's `/etc` has changed against the image, and the way back.
//!
//! `diff` only reads. `revert` works through `/etc` itself, never below the overlay that is mounted there.

mod compare;
mod entry;
mod revert;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};

use crate::root::Root;
use compare::{Change, Missing};

const ETC: &str = "/etc";
/// The image's own `/etc`, below the overlay.
const LOWER: &str = "/usr/share/factory/etc";
/// What lies over it, where `/etc` is an overlay.
const UPPER: &str = "/var/lib/keelson/etc/upper";

const EXAMPLES: &str = "Examples:
  sudo keelson-etc diff                   A added, M modified, D deleted, T of another type
  sudo keelson-etc diff --json
  sudo keelson-etc revert /etc/motd       as the image has it";

/// Lists what /etc has changed against the image, and takes changes back.
#[derive(Parser)]
#[command(name = "keelson-etc", after_help = EXAMPLES)]
struct Flags {
    #[command(subcommand)]
    verb: Verb,
    #[arg(long, hide = true, global = true, default_value = "/")]
    root: Root,
}

#[derive(Subcommand)]
enum Verb {
    /// Lists added, modified, deleted files and those of another type
    Diff {
        /// One JSON document: {"changes":[{"change":"M","path":"/etc/motd"}]}
        #[arg(long)]
        json: bool,
    },
    /// Makes one file (or link, or folder that was deleted) as the image has it
    Revert {
        /// Path below /etc, as `diff` shows it
        path: PathBuf,
    },
}

pub fn run(words: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(words);
    match flags.verb {
        Verb::Diff { json } => print!("{}", shown(&changes(&flags.root)?, json)?),
        Verb::Revert { path } => {
            let changes = changes(&flags.root)?;
            let below = below_etc(&path)?;
            let done = revert::revert(&flags.root.at(ETC), &flags.root.at(LOWER), &changes, &below)?;
            eprintln!("{} {done}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn changes(root: &Root) -> Result<Vec<Change>> {
    let lower = root.at(LOWER);
    if !lower.is_dir() {
        bail!("there is no {LOWER}: this is no node of an image that keeps its /etc there");
    }
    let upper = root.at(UPPER);
    let found = if upper.is_dir() {
        compare::compare(&upper, &lower, Missing::Unchanged)
    } else {
        compare::compare(&root.at(ETC), &lower, Missing::Deleted)
    };
    found.context("cannot compare /etc with the image's")
}

/// The part of an absolute path below `/etc`.
fn below_etc(path: &Path) -> Result<PathBuf> {
    let below = path.strip_prefix(ETC).ok().filter(|below| below.file_name().is_some());
    let plain =
        |below: &&Path| below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let Some(below) = below.filter(plain) else {
        bail!("{} is no path below /etc, as `keelson-etc diff` shows it", path.display());
    };
    Ok(below.to_path_buf())
}

fn shown(changes: &[Change], json: bool) -> Result<String> {
    let path = |change: &Change| Path::new(ETC).join(&change.path).display().to_string();
    if json {
        let list: Vec<_> = changes
            .iter()
            .map(|change| serde_json::json!({ "change": change.kind.letter(), "path": path(change) }))
            .collect();
        return Ok(serde_json::to_string_pretty(&serde_json::json!({ "changes": list }))? + "\n");
    }
    Ok(changes.iter().map(|change| format!("{} {}\n", change.kind.letter(), path(change))).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        for (path, text) in files {
            let path = root.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn a_plain_copy_is_compared_as_a_tree() {
        let (_folder, root) = machine(&[
            ("/usr/share/factory/etc/motd", "hello"),
            ("/usr/share/factory/etc/gone", ""),
            ("/etc/motd", "bye"),
            ("/etc/new", ""),
        ]);
        assert_eq!(shown(&changes(&root).unwrap(), false).unwrap(), "D /etc/gone\nM /etc/motd\nA /etc/new\n");
        let json: serde_json::Value =
            serde_json::from_str(&shown(&changes(&root).unwrap(), true).unwrap()).unwrap();
        assert_eq!(json["changes"][1], serde_json::json!({ "change": "M", "path": "/etc/motd" }));
    }

    #[test]
    fn an_upper_folder_is_compared_as_a_layer() {
        let (_folder, root) = machine(&[
            ("/usr/share/factory/etc/motd", "hello"),
            ("/usr/share/factory/etc/same", ""),
            ("/var/lib/keelson/etc/upper/motd", "bye"),
        ]);
        assert_eq!(shown(&changes(&root).unwrap(), false).unwrap(), "M /etc/motd\n");
    }

    #[test]
    fn what_is_no_node_and_no_path_below_etc_is_refused() {
        let (_folder, root) = machine(&[("/etc/motd", "")]);
        assert!(changes(&root).unwrap_err().to_string().starts_with("there is no /usr/share/factory/etc"));
        for path in ["/etc", "/etc/", "motd", "/usr/x", "/etc/../usr/x", "/etc/a/../../usr"] {
            assert!(below_etc(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(below_etc(Path::new("/etc/a/b")).unwrap(), Path::new("a/b"));
    }
}
