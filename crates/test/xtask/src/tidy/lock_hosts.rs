//! The package lock contains no host names: it states what is built, not where it was downloaded.

use std::path::Path;

use anyhow::Result;

use super::finding::{Finding, Outcome};
use crate::workspace::Workspace;

/// Files that are the same on every host, whatever mirror it uses.
const LOCKS: [&str; 2] = ["os/packages", "os/packages.lock"];
/// Number of labels from which a dotted word counts as a host name.
const HOST_LABELS: usize = 3;

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for lock in LOCKS.iter().map(Path::new).filter(|lock| workspace.files.iter().any(|file| file == lock)) {
        for (index, line) in workspace.read(lock)?.lines().enumerate() {
            if let Some(host) = words(line).find(|word| names_host(word)) {
                let location = format!("{}:{}", lock.display(), index + 1);
                findings.push(Finding::new(
                    location,
                    format!("`{host}` names a host: keep the path below pool/"),
                ));
            }
        }
    }
    Ok(Outcome::of(findings))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| letter.is_whitespace() || "\"'=,;()[]{}<>".contains(letter))
}

fn names_host(word: &str) -> bool {
    if word.contains("://") {
        return true;
    }
    let (host, path) = word.split_once('/').map_or((word, None), |(host, path)| (host, Some(path)));
    let labels: Vec<_> = host.split('.').collect();
    let top_is_a_word = labels
        .last()
        .is_some_and(|top| top.len() >= 2 && top.bytes().all(|letter| letter.is_ascii_lowercase()));
    let like_labels = labels.iter().all(|label| {
        label.starts_with(|letter: char| letter.is_ascii_lowercase())
            && label
                .bytes()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-')
    });
    let enough = if path.is_some() { 2 } else { HOST_LABELS };
    top_is_a_word && like_labels && labels.len() >= enough
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::with_files;

    fn check_line(line: &str, expected: usize) {
        let made = with_files(&[("os/packages.lock", line)]);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        assert_eq!(findings.len(), expected, "{line}: {findings:?}");
    }

    #[test]
    fn hosts_in_any_form_are_found() {
        check_line("url = \"https://packages.example/debian\"", 1);
        check_line("path=mirror.example/debian/pool/main/a/a.deb", 1);
        check_line("mirror: packages.mirror.example", 1);
    }

    #[test]
    fn packages_versions_and_pool_paths_pass() {
        check_line(
            "systemd 257.13-1~deb13u1 amd64 pool/main/s/systemd/systemd_257.13-1~deb13u1_amd64.deb",
            0,
        );
        check_line("python3.13-minimal 3.13.5-2 pool/main/p/python3.13/python3.13-minimal_3.13.5-2.deb", 0);
        check_line("libfoo 1.2.dfsg-3 1:2.3+really1.0.orig", 0);
    }
}
