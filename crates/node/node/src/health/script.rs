//! Checks that are executables in the folders `health.d`.
//!
//! `required.d` and `wanted.d` determine the severity; `health.d` itself is required. A name in `/etc`
//! overrides the image's, also as a link to `/dev/null`, which disables it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::check::Kind;
use crate::root::Root;

/// Later folders take precedence.
const FOLDERS: [&str; 2] = ["/usr/lib/keelson/health.d", "/etc/keelson/health.d"];
const SUBFOLDERS: [(&str, Kind); 3] =
    [("", Kind::Required), ("required.d", Kind::Required), ("wanted.d", Kind::Wanted)];
/// The output is truncated to this size.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Relative name: `10-disk`, `wanted.d/20-dns`.
    pub name: String,
    pub kind: Kind,
    pub path: PathBuf,
    /// False if the file is not executable.
    pub executable: bool,
}

/// All scripts, required ones first, sorted by name.
///
/// # Errors
/// A folder exists but cannot be read.
pub fn find(root: &Root) -> io::Result<Vec<Script>> {
    let mut found = Vec::new();
    for (below, kind) in SUBFOLDERS {
        let mut scripts = BTreeMap::new();
        for folder in FOLDERS {
            for path in files(&root.at(folder).join(below))? {
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                scripts.insert(Path::new(below).join(name).display().to_string(), path);
            }
        }
        for (name, path) in scripts {
            let Ok(data) = fs::metadata(&path) else { continue };
            if !data.is_file() {
                continue;
            }
            let executable = data.permissions().mode() & 0o111 != 0;
            found.push(Script { name, kind, path, executable });
        }
    }
    Ok(found)
}

/// Files without hidden ones and editor backups.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut all = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() && !name.starts_with('.') && !name.ends_with('~') {
            all.push(entry.path());
        }
    }
    Ok(all)
}

/// The result of one run.
#[derive(Debug)]
pub struct ScriptResult {
    /// stdout and stderr, interleaved.
    pub output: String,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Runs the script; kills its process group after `limit`.
pub fn run(path: &Path, limit: Duration) -> ScriptResult {
    match run_to_end(path, limit) {
        Ok(ran) => ran,
        Err(error) => {
            ScriptResult { output: String::new(), failure: Some(format!("cannot run the script: {error}")) }
        }
    }
}

fn run_to_end(path: &Path, limit: Duration) -> io::Result<ScriptResult> {
    let deadline = Instant::now() + limit;
    let (mut reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).current_dir("/");
    let mut child = command.process_group(0).spawn()?;
    // The command holds the write end of the pipe.
    drop(command);
    let mut output = Vec::new();
    let finished = read_output(&child, &mut reader, deadline, &mut output);
    // Also kills background processes, which nothing waits for. By its id: the group is not reused before `wait` reaps
    // its leader, and Linux signals groups by pidfd only since 6.9.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // ESRCH: the group has exited.
        kill_process_group(group, Signal::KILL).ok();
    }
    let status = child.wait()?;
    let failure = if finished? {
        failure(status)
    } else {
        Some(format!("did not exit within {} s", limit.as_secs_f32()))
    };
    Ok(ScriptResult { output: String::from_utf8_lossy(&output).into_owned(), failure })
}

/// Captures output until the process exits; `false` on timeout.
fn read_output(
    child: &Child,
    reader: &mut PipeReader,
    deadline: Instant,
    output: &mut Vec<u8>,
) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    rustix::io::ioctl_fionbio(&*reader, true)?;
    let mut open = true;
    loop {
        let remaining = deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            return Ok(false);
        }
        let timeout = PollTimeout::try_from(remaining + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        let exited = {
            let mut descriptors = vec![PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            // A closed pipe would wake each poll.
            descriptors.extend(open.then(|| PollFd::new(reader.as_fd(), PollFlags::POLLIN)));
            match poll(&mut descriptors, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            descriptors[0].any().unwrap_or_default()
        };
        open = open && drain(reader, output)?;
        if exited {
            return Ok(true);
        }
    }
}

/// Reads what is available; `false` at the end of the stream.
fn drain(reader: &mut PipeReader, output: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; 4096];
    // Bounded by the pipe's capacity, so that endless output does not loop forever.
    for _ in 0..64 {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(length) => {
                let capacity = MAX_OUTPUT_BYTES.saturating_sub(output.len());
                output.extend_from_slice(&chunk[..length.min(capacity)]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn failure(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(signal)) => Some(format!("killed by signal {signal}")),
        (None, None) => Some("unknown exit status".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn machine(scripts: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        for (path, text) in scripts {
            let path = root.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn folders_determine_severity_and_etc_overrides_the_image() {
        let (_folder, root) = machine(&[
            ("/usr/lib/keelson/health.d/20-image", ""),
            ("/usr/lib/keelson/health.d/30-off", ""),
            ("/usr/lib/keelson/health.d/wanted.d/10-dns", ""),
            ("/etc/keelson/health.d/10-own", ""),
            ("/etc/keelson/health.d/20-image", "echo mine"),
            ("/etc/keelson/health.d/required.d/40-disk", ""),
            ("/etc/keelson/health.d/50-left-over~", ""),
            ("/etc/keelson/health.d/.hidden", ""),
            ("/etc/keelson/health.d/60-plain", ""),
            ("/etc/keelson/health.d/other.d/70-nobody", ""),
        ]);
        symlink("/dev/null", root.at("/etc/keelson/health.d/30-off")).unwrap();
        symlink("/nowhere", root.at("/etc/keelson/health.d/80-dangling")).unwrap();
        let plain = root.at("/etc/keelson/health.d/60-plain");
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
        let found = find(&root).unwrap();
        let listed: Vec<_> =
            found.iter().map(|script| (script.name.as_str(), script.kind, script.executable)).collect();
        assert_eq!(
            listed,
            [
                ("10-own", Kind::Required, true),
                ("20-image", Kind::Required, true),
                ("60-plain", Kind::Required, false),
                ("required.d/40-disk", Kind::Required, true),
                ("wanted.d/10-dns", Kind::Wanted, true),
            ]
        );
        assert_eq!(found[1].path, root.at("/etc/keelson/health.d/20-image"));
        assert!(find(&Root::from(Path::new("/nowhere"))).unwrap().is_empty());
    }

    fn check_run(text: &str, limit: Duration, output: &str, failure: Option<&str>) {
        let (_folder, root) = machine(&[("/check", text)]);
        let ran = run(&root.at("/check"), limit);
        assert_eq!((ran.output.as_str(), ran.failure.as_deref()), (output, failure), "{text}");
    }

    const AMPLE: Duration = Duration::from_secs(60);

    #[test]
    fn status_and_output_are_captured() {
        check_run("echo fine; echo and well >&2", AMPLE, "fine\nand well\n", None);
        check_run("echo full; exit 3", AMPLE, "full\n", Some("exit status 3"));
        check_run("kill -TERM $$", AMPLE, "", Some("killed by signal 15"));
        let missing = run(Path::new("/nowhere"), AMPLE).failure.unwrap();
        assert!(missing.starts_with("cannot run the script: "), "{missing}");
    }

    #[test]
    fn hanging_check_is_killed_with_its_children() {
        let began = Instant::now();
        let limit = Duration::from_millis(300);
        check_run(
            "echo waiting; sleep 1000 & sleep 1000",
            limit,
            "waiting\n",
            Some("did not exit within 0.3 s"),
        );
        // A background process that holds the streams is not waited for.
        check_run("sleep 1000 & exit 0", AMPLE, "", None);
        assert!(began.elapsed() < AMPLE);
    }

    #[test]
    fn output_is_truncated() {
        let (_folder, root) = machine(&[("/check", "yes | head -c 1000000")]);
        let ran = run(&root.at("/check"), AMPLE);
        assert_eq!((ran.output.len(), ran.failure), (MAX_OUTPUT_BYTES, None));
    }

    #[test]
    fn endless_output_times_out() {
        let (_folder, root) = machine(&[("/check", "yes")]);
        let ran = run(&root.at("/check"), Duration::from_millis(300));
        assert_eq!(ran.failure.as_deref(), Some("did not exit within 0.3 s"));
    }
}
