//! `keelson-etc`: lists and reverts this machine's changes to the image's `/etc`.
//!
//! `diff` only reads. `revert` modifies `/etc` itself, never the layers of a mounted overlay.

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
/// The image's `/etc`, the lower layer of the overlay.
const LOWER: &str = "/usr/share/factory/etc";
/// The upper layer, if `/etc` is an overlay.
const UPPER: &str = "/var/lib/keelson/etc/upper";

const EXAMPLES: &str = "Examples:
  sudo keelson-etc diff                   A added, M modified, D deleted, T type changed
  sudo keelson-etc diff --json
  sudo keelson-etc revert /etc/motd       restore the file of the image";

/// Lists and reverts the changes of /etc relative to the image.
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
    /// List added, modified and deleted files, and files whose type changed
    Diff {
        /// Print one JSON document: {"changes":[{"change":"M","path":"/etc/motd"}]}
        #[arg(long)]
        json: bool,
    },
    /// Restore one file, link or deleted folder from the image
    Revert {
        /// Path below /etc, as printed by `diff`
        path: PathBuf,
    },
}

pub fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let flags = Flags::parse_from(args);
    match flags.verb {
        Verb::Diff { json } => print!("{}", format_changes(&changes(&flags.root)?, json)?),
        Verb::Revert { path } => {
            let changes = changes(&flags.root)?;
            let lower_path = relative_to_etc(&path)?;
            let done = revert::revert(&flags.root.at(ETC), &flags.root.at(LOWER), &changes, &lower_path)?;
            eprintln!("{} {done}", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn changes(root: &Root) -> Result<Vec<Change>> {
    let lower = root.at(LOWER);
    if !lower.is_dir() {
        bail!("{LOWER} does not exist: this machine does not run a Keelson image");
    }
    let upper = root.at(UPPER);
    let found = if upper.is_dir() {
        compare::compare(&upper, &lower, Missing::Unchanged)
    } else {
        compare::compare(&root.at(ETC), &lower, Missing::Deleted)
    };
    found.context("cannot compare /etc with the image")
}

/// The path relative to `/etc`.
fn relative_to_etc(path: &Path) -> Result<PathBuf> {
    let lower_path = path.strip_prefix(ETC).ok().filter(|lower_path| lower_path.file_name().is_some());
    let is_normal = |lower_path: &&Path| {
        lower_path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    let Some(lower_path) = lower_path.filter(is_normal) else {
        bail!("{} is not a path below /etc, as printed by `keelson-etc diff`", path.display());
    };
    Ok(lower_path.to_path_buf())
}

fn format_changes(changes: &[Change], json: bool) -> Result<String> {
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
    fn copied_etc_is_compared_as_a_tree() {
        let (_folder, root) = machine(&[
            ("/usr/share/factory/etc/motd", "hello"),
            ("/usr/share/factory/etc/gone", ""),
            ("/etc/motd", "bye"),
            ("/etc/new", ""),
        ]);
        assert_eq!(
            format_changes(&changes(&root).unwrap(), false).unwrap(),
            "D /etc/gone\nM /etc/motd\nA /etc/new\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&format_changes(&changes(&root).unwrap(), true).unwrap()).unwrap();
        assert_eq!(json["changes"][1], serde_json::json!({ "change": "M", "path": "/etc/motd" }));
    }

    #[test]
    fn an_upper_folder_is_compared_as_a_layer() {
        let (_folder, root) = machine(&[
            ("/usr/share/factory/etc/motd", "hello"),
            ("/usr/share/factory/etc/same", ""),
            ("/var/lib/keelson/etc/upper/motd", "bye"),
        ]);
        assert_eq!(format_changes(&changes(&root).unwrap(), false).unwrap(), "M /etc/motd\n");
    }

    #[test]
    fn invalid_machines_and_paths_are_refused() {
        let (_folder, root) = machine(&[("/etc/motd", "")]);
        assert!(changes(&root).unwrap_err().to_string().starts_with("/usr/share/factory/etc does not exist"));
        for path in ["/etc", "/etc/", "motd", "/usr/x", "/etc/../usr/x", "/etc/a/../../usr"] {
            assert!(relative_to_etc(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(relative_to_etc(Path::new("/etc/a/b")).unwrap(), Path::new("a/b"));
    }
}
