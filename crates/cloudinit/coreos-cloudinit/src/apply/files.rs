//! Files: written atomically with mode and owner, and only if they differ.

use std::borrow::Cow;

use cloudinit::file_source::FileSource;
use cloudinit::limits::MAX_FILE_BYTES;
use cloudinit::plan::{FileKind, FileWrite};
use host::files::{self, DIRECTORY_MODE, Owner, Request};
use host::{Outcome, accounts};

use super::context::{ApplyContext, StepError, StepResult};

/// The bits of the mode that are kept if the owner is unknown.
const OWNER_BITS: u32 = 0o700;
const TIME_ZONES: &str = "/usr/share/zoneinfo";
pub(super) const LOCAL_TIME_PATH: &str = "/etc/localtime";
const ENVIRONMENT_PATH: &str = "/etc/environment";

impl ApplyContext<'_> {
    pub(super) fn write(&mut self, write: &FileWrite) -> StepResult {
        let path = &write.path;
        let (kind, unit) = match &write.kind {
            FileKind::File | FileKind::Sudoers | FileKind::CreateOnly | FileKind::Append { .. } => {
                (None, None)
            }
            FileKind::Unit { name, network } => (Some(format!("unit {name:?}")), Some((name, *network))),
            FileKind::DropIn { unit, name, network } => {
                (Some(format!("drop-in unit {name:?}")), Some((unit, *network)))
            }
        };
        if let Some(kind) = &kind {
            self.info(format!("Writing {kind} to filesystem"));
        }
        self.info(format!("Writing file to {path:?}"));
        if write.kind == FileKind::Sudoers {
            self.check_sudoers(&write.content)?;
        }
        let (mut owner, mut mode) = self.owner(write);
        let mut content: Cow<'_, [u8]> = Cow::Borrowed(&write.content);
        let existing = match write.kind {
            FileKind::CreateOnly | FileKind::Append { .. } => files::status(self.settings.root, path)?,
            _ => None,
        };
        if let Some(existing) = existing {
            let FileKind::Append { keeps_mode } = write.kind else {
                self.info(format!("File {path:?} exists and is not changed"));
                return Ok(Outcome::Unchanged);
            };
            content = Cow::Owned(self.appended_content(path, &write.content)?);
            if keeps_mode {
                mode = existing.mode;
            }
            if write.owner.is_empty() {
                owner = existing.owner;
            }
        }
        let content = &*content;
        let request = Request { path, mode, owner, content, directory_mode: DIRECTORY_MODE };
        let outcome = self.staged_files.install(self.settings.root, &request)?;
        self.log_outcome(path, kind.as_deref(), outcome);
        if outcome.changed() {
            self.written.insert(path.clone());
        }
        match unit {
            Some((_, true)) if outcome.changed() => self.network_changed = true,
            Some((unit, false)) if outcome.changed() => {
                self.changed_units.insert(unit.clone());
            }
            // Units and drop-ins written as plain files also need a daemon-reload.
            None if outcome.changed() => self.changed_units.extend(unit_of_file(path)),
            _ => {}
        }
        Ok(outcome)
    }

    /// If the fetch fails, an existing file is kept: it may hold the previously fetched content.
    pub(super) fn fetch(&mut self, write: &FileWrite, from: &FileSource, has_fallback: bool) -> StepResult {
        let path = &write.path;
        let exists = files::status(self.settings.root, path)?.is_some();
        if exists && write.kind == FileKind::CreateOnly {
            return self.write(write);
        }
        self.info(format!("Fetching the content of {path:?}"));
        match self.fetcher.file(from, self.settings.log) {
            Ok(content) => self.write(&FileWrite { content: content.into(), ..write.clone() }),
            Err(error) if has_fallback => {
                self.record_missed(format!("fetch {path}"), service::error::chain(&error));
                if exists {
                    self.info(format!("File {path:?} exists and is not changed"));
                    return Ok(Outcome::Unchanged);
                }
                self.write(write)
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn time_zone(&self, name: &str) -> StepResult {
        let zone = format!("{TIME_ZONES}/{name}");
        if files::read(self.settings.root, &zone, MAX_FILE_BYTES)?.is_none() {
            return Err(StepError(format!("there is no {zone}")));
        }
        let outcome = files::link(self.settings.root, LOCAL_TIME_PATH, &format!("..{zone}"))?;
        self.info(format!("Set time zone to {name}"));
        Ok(outcome)
    }

    /// The file's content with `addition` appended, unless it has it already.
    fn appended_content(&self, path: &str, addition: &[u8]) -> Result<Vec<u8>, StepError> {
        let mut content = files::read(self.settings.root, path, MAX_FILE_BYTES)?.unwrap_or_default();
        let exists = match (str::from_utf8(&content), str::from_utf8(addition)) {
            (Ok(content), Ok(addition)) => has_lines(content, addition),
            _ => content.ends_with(addition),
        };
        if !exists {
            content.extend_from_slice(addition);
        }
        Ok(content)
    }

    fn check_sudoers(&self, rules: &[u8]) -> Result<(), StepError> {
        if self.may_run("the check of the sudo rules")
            && !accounts::check_sudoers(&String::from_utf8_lossy(rules))?
        {
            self.settings.log.warning("Warning: the sudo rules are not checked: visudo is missing");
        }
        Ok(())
    }

    fn log_outcome(&self, path: &str, kind: Option<&str>, outcome: Outcome) {
        if !outcome.changed() {
            self.info(format!("File {path:?} is as it should be"));
            return;
        }
        self.info(format!("Wrote file to {path:?}"));
        match kind {
            Some(kind) => self.info(format!("Wrote {kind}")),
            None if path == ENVIRONMENT_PATH => self.info("Updated /etc/environment"),
            None => self.info(format!("Wrote file {path} to filesystem")),
        }
    }

    /// A file with an unknown owner is readable by root only.
    fn owner(&mut self, write: &FileWrite) -> (Owner, u32) {
        match accounts::owner(self.settings.root, &write.owner) {
            Ok(owner) => (owner, write.mode),
            Err(error) => {
                self.record_failure(
                    format!("owner {:?} of {}", write.owner, write.path),
                    service::error::chain(&error),
                );
                (Owner::default(), write.mode & OWNER_BITS)
            }
        }
    }
}

/// The unit that a file in systemd's folders configures: `a.service` for `.../system/a.service.d/x.conf`.
fn unit_of_file(path: &str) -> Option<String> {
    let below =
        ["/etc/systemd/system/", "/run/systemd/system/"].iter().find_map(|at| path.strip_prefix(at))?;
    let first = below.split('/').next()?;
    Some(first.strip_suffix(".d").unwrap_or(first).to_owned())
}

/// Whether `text` was appended before: as whole lines, or at the end of a file without a final newline.
fn has_lines(content: &str, text: &str) -> bool {
    let in_lines = content.match_indices(text).any(|(at, _)| {
        let (before, after) = (&content[..at], &content[at + text.len()..]);
        let begins = before.is_empty() || before.ends_with('\n');
        begins && (text.ends_with('\n') || after.is_empty() || after.starts_with('\n'))
    });
    in_lines || !text.ends_with('\n') && content.ends_with(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_in_systemd_s_folders_are_changes_of_units() {
        let check = |path: &str, expected: Option<&str>| assert_eq!(unit_of_file(path).as_deref(), expected);
        check("/etc/systemd/system/docker.service.d/10-proxy.conf", Some("docker.service"));
        check("/run/systemd/system/a.timer", Some("a.timer"));
        check("/etc/systemd/network/a.network", None);
        check("/etc/hosts", None);
    }

    #[test]
    fn what_is_appended_is_looked_for_in_whole_lines() {
        for (content, lines, expected) in [
            ("a\nPermitRootLogin no\n", "PermitRootLogin no\n", true),
            ("PermitRootLogin no", "PermitRootLogin no", true),
            ("#PermitRootLogin no\n", "PermitRootLogin no\n", false),
            ("110.0.0.1 a\n", "10.0.0.1 a\n", false),
            ("10.0.0.1 ab\n", "10.0.0.1 a", false),
            ("#x\nx\n", "x\n", true),
            ("xy", "y", true),
            ("", "x\n", false),
            ("a\n", "", true),
        ] {
            assert_eq!(has_lines(content, lines), expected, "{lines:?} in {content:?}");
        }
    }
}
