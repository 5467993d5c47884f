//! Adds files to the OEM partition of an image, which is ext4. debugfs writes them, as e2fsprogs's own library does: it
//! needs neither root nor a mount, so that it also works on regular files, and before the disk has a partition table.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Folder of these files on the OEM partition.
pub const OEM_FILES: &str = "coreos-install";
const PROGRAM: &str = "debugfs";
const CHECKER: &str = "e2fsck";
/// Bytes of all files. The partition has 64 MiB, journal and platform's files included.
const MAX_BYTES: usize = 32 << 20;
const MAX_FILES: usize = 1000;
const MAX_NAME: usize = 255;

/// A file of the OEM partition.
#[derive(Clone, PartialEq, Eq)]
pub struct OemFile {
    /// Folder on the partition, at most two levels deep: `coreos-install/network`. Empty for the top.
    pub folder: String,
    /// Name in it.
    pub name: String,
    /// May be secret.
    pub content: Vec<u8>,
}

impl fmt::Debug for OemFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({} bytes)", self.path(), self.content.len())
    }
}

impl OemFile {
    fn path(&self) -> String {
        if self.folder.is_empty() {
            format!("/{}", self.name)
        } else {
            format!("/{}/{}", self.folder, self.name)
        }
    }
}

/// Why files cannot be added.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum OemError {
    #[error("the image has no partition OEM for the configuration")]
    NoPartition,
    #[error("the configuration has {0} bytes, more than {MAX_BYTES}")]
    TooLarge(usize),
    #[error("the configuration has {0} files, more than {MAX_FILES}")]
    TooMany(usize),
    #[error("{0:?} cannot be the name of a file on the OEM partition: letters, digits and -_.@ are allowed")]
    Name(String),
    #[error("cannot start {program} (package e2fsprogs)")]
    Start { program: &'static str, source: io::Error },
    #[error("cannot prepare {path}")]
    Prepare { path: String, source: io::Error },
    #[error("debugfs could not write {path} to the OEM partition: {output}")]
    Write { path: String, output: String },
    #[error("the file system of the OEM partition is damaged: {0}")]
    Check(String),
}

/// Checks names and sizes, and that the program exists, before anything is written.
///
/// # Errors
/// The files cannot be added to any image.
pub fn check_files(files: &[OemFile]) -> Result<(), OemError> {
    if files.is_empty() {
        return Ok(());
    }
    if files.len() > MAX_FILES {
        return Err(OemError::TooMany(files.len()));
    }
    let bytes = files.iter().map(|file| file.content.len()).sum();
    if bytes > MAX_BYTES {
        return Err(OemError::TooLarge(bytes));
    }
    // The names are part of debugfs's commands.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    let names = files.iter().flat_map(|file| file.folder.split('/').chain([&*file.name]));
    for name in names.filter(|name| !name.is_empty()) {
        if name.len() > MAX_NAME || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(OemError::Name(name.to_owned()));
        }
    }
    for program in [PROGRAM, CHECKER] {
        run(program, &["-V"], "")?;
    }
    Ok(())
}

/// Writes `files`, with mode 0600 and owner root, to the ext4 file system at byte `offset` of `disk`, and reads them
/// back. Not durable before the disk is.
///
/// # Errors
/// debugfs failed, or the file system does not have the files afterwards.
pub fn write_files(disk: &Path, offset: u64, files: &[OemFile]) -> Result<(), OemError> {
    check_files(files)?;
    // debugfs parses what follows a `?` as options.
    let device = format!("{}?offset={offset}", disk.display());
    for file in files {
        make_folder(&device, &file.folder)?;
        write_file(&device, file)?;
    }
    let checked = run(CHECKER, &["-f", "-n", &device], "")?;
    if !checked.status.success() {
        return Err(OemError::Check(lines(&checked.stdout).trim_end_matches("; ").to_owned()));
    }
    Ok(())
}

/// Creates a folder and its parents. debugfs damages the file system if one exists.
fn make_folder(device: &str, folder: &str) -> Result<(), OemError> {
    let mut parent = String::new();
    for part in folder.split('/').filter(|part| !part.is_empty()) {
        let path = format!("{parent}/{part}");
        let exists = run(PROGRAM, &["-R", &format!("stat {path}"), device], "")?;
        if !String::from_utf8_lossy(&exists.stdout).contains("Type: directory") {
            run(PROGRAM, &["-w", "-f", "-", device], &format!("cd {parent}/\nmkdir {part}\n"))?;
        }
        parent = path;
    }
    Ok(())
}

fn write_file(device: &str, file: &OemFile) -> Result<(), OemError> {
    let failed = |source| OemError::Prepare { path: file.path(), source };
    let folder = tempfile::tempdir().map_err(failed)?;
    let source = folder.path().join("file");
    service::file::replace(&source, &file.content, 0o600).map_err(failed)?;
    let name = &file.name;
    let source = source.display();
    let mut commands = format!("cd /{}\nrm {name}\nwrite \"{source}\" {name}\n", file.folder);
    for (field, value) in [("mode", "0100600"), ("uid", "0"), ("gid", "0")] {
        commands.push_str(&format!("set_inode_field {name} {field} {value}\n"));
    }
    let output = run(PROGRAM, &["-w", "-f", "-", device], &commands)?;
    let written = run(PROGRAM, &["-R", &format!("cat {}", file.path()), device], "")?;
    if written.stdout != file.content {
        let output = format!("{}{}", lines(&output.stderr), lines(&written.stderr));
        return Err(OemError::Write { path: file.path(), output: output.trim_end_matches("; ").to_owned() });
    }
    Ok(())
}

/// Runs a program of e2fsprogs. debugfs's exit code does not depend on its commands.
fn run(program: &'static str, arguments: &[&str], input: &str) -> Result<Output, OemError> {
    let failed = |source| OemError::Start { program, source };
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        // Otherwise it pages its output.
        .env("DEBUGFS_PAGER", "__none__")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Far less than a pipe holds; a program that exits early fails the comparison.
    if let Some(mut pipe) = child.stdin.take() {
        drop(pipe.write_all(input.as_bytes()));
    }
    child.wait_with_output().map_err(failed)
}

/// debugfs's messages in one line, without its version.
fn lines(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("debugfs 1"));
    lines.map(|line| format!("{line}; ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(folder: &str, name: &str, content: &[u8]) -> OemFile {
        OemFile { folder: folder.to_owned(), name: name.to_owned(), content: content.to_vec() }
    }

    /// An image with a file system of 8 MiB at `OFFSET`; `None` without e2fsprogs.
    fn image() -> Option<tempfile::NamedTempFile> {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(OFFSET + (8 << 20)).unwrap();
        let options = format!("offset={OFFSET}");
        let made = Command::new("mkfs.ext4")
            .args(["-q", "-E", &options])
            .arg(image.path())
            .arg("8m")
            .stderr(Stdio::null())
            .status();
        made.is_ok_and(|status| status.success()).then_some(image)
    }

    const OFFSET: u64 = 3 << 20;

    #[test]
    fn files_are_added_to_a_file_system_within_an_image() {
        let Some(image) = image() else {
            eprintln!("SKIPPED: oem::files_are_added: no mkfs.ext4 here (apt-get install e2fsprogs)");
            return;
        };
        let binary: Vec<_> = (0..=255).cycle().take(300_000).collect();
        let files = [
            file(OEM_FILES, "user_data", b"#cloud-config\n"),
            file("coreos-install/network", "10-a@b.network", b"[Match]\n"),
            file("", "config.ign", &binary),
            // Replaces the first.
            file(OEM_FILES, "user_data", b"#cloud-config\nhostname: x\n"),
        ];
        write_files(image.path(), OFFSET, &files).unwrap();
        let device = format!("{}?offset={OFFSET}", image.path().display());
        let read = |path: &str| run(PROGRAM, &["-R", &format!("cat {path}"), &device], "").unwrap().stdout;
        assert_eq!(read("/coreos-install/user_data"), b"#cloud-config\nhostname: x\n");
        assert_eq!(read("/config.ign"), binary);
        let listed =
            run(PROGRAM, &["-R", "stat /coreos-install/network/10-a@b.network", &device], "").unwrap().stdout;
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains("Mode:  0600") && listed.contains("User:     0   Group:     0"), "{listed}");
        // The bytes before the file system are not touched.
        assert!(std::fs::read(image.path()).unwrap()[..3 << 20].iter().all(|byte| *byte == 0));
        let big = file("", "big", &vec![1; 9 << 20]);
        let refused = write_files(image.path(), OFFSET, &[big]).unwrap_err().to_string();
        assert!(refused.starts_with("debugfs could not write /big to the OEM partition"), "{refused}");
    }

    #[test]
    fn a_damaged_file_system_is_found() {
        let Some(image) = image() else {
            eprintln!("SKIPPED: oem::a_damaged_file_system: no mkfs.ext4 here (apt-get install e2fsprogs)");
            return;
        };
        let device = format!("{}?offset={OFFSET}", image.path().display());
        run(PROGRAM, &["-w", "-R", "freei <11>", &device], "").unwrap();
        let refused = write_files(image.path(), OFFSET, &[file("", "a", b"b")]).unwrap_err();
        assert!(matches!(refused, OemError::Check(_)), "{refused:?}");
    }

    #[test]
    fn a_disk_without_the_file_system_is_an_error() {
        let image = tempfile::NamedTempFile::new().unwrap();
        image.as_file().set_len(4 << 20).unwrap();
        let refused = write_files(image.path(), 1 << 20, &[file("", "a", b"b")]).unwrap_err();
        assert!(matches!(refused, OemError::Write { .. } | OemError::Start { .. }), "{refused:?}");
    }

    #[test]
    fn names_and_sizes_are_checked() {
        let refused = |files: &[OemFile]| check_files(files).unwrap_err().to_string();
        for name in ["a b", "..", ".a", "a\nrm x", "\"", "ä", &"a".repeat(256)] {
            assert!(refused(&[file("", name, b"")]).contains("cannot be the name"), "{name}");
            assert!(refused(&[file(name, "a", b"")]).contains("cannot be the name"), "{name}");
        }
        assert!(refused(&[file("", "a", &vec![0; MAX_BYTES + 1])]).contains("bytes, more than"));
        assert!(refused(&vec![file("", "a", b""); MAX_FILES + 1]).contains("files, more than"));
        assert!(!format!("{:?}", file("x", "a", b"secret")).contains("secret"));
    }
}
