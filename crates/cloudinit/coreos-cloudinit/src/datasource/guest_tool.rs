//! Runs the hypervisor's guest tools: looked up in `PATH`, with output capped in size and time.
//!
//! Standard output may be secret: it must not reach a log or a message.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::provider::PropertyLookup;

use super::error::DatasourceError;

const LIMIT: Duration = Duration::from_secs(10);
/// Cap of the captured standard error.
const MAX_ERROR_BYTES: usize = 300;

/// The result of one run.
pub(super) struct ToolOutput {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// The first non-empty line of standard error.
    pub error_line: String,
}

/// The path of the first of these programs that exists.
pub(super) fn find(programs: &[&'static str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = programs.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|file| file.is_file())
}

/// Applies `read` to the keys that `query` returns; fails if any query failed.
pub(super) fn read_keys<T>(
    mut query: impl FnMut(&str) -> Result<Option<String>, DatasourceError>,
    read: impl FnOnce(&mut PropertyLookup<'_>) -> T,
) -> Result<T, DatasourceError> {
    let mut failure = None;
    let result = read(&mut |key| {
        if failure.is_some() {
            return None;
        }
        query(key).unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    failure.map_or(Ok(result), Err)
}

/// # Errors
/// The program cannot be run, times out, or its output is too large.
pub(super) fn run(program: &Path, arguments: &[&str]) -> Result<ToolOutput, DatasourceError> {
    run_with_timeout(program, arguments, LIMIT)
}

fn run_with_timeout(
    program: &Path,
    arguments: &[&str],
    limit: Duration,
) -> Result<ToolOutput, DatasourceError> {
    let failed = |reason: String| DatasourceError::Program { program: program.into(), reason };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let read = read(&mut child, limit);
    if read.as_ref().is_none_or(|(stdout, _)| stdout.len() > MAX_RAW_BYTES) {
        // It may have exited already.
        child.kill().unwrap_or(());
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    let Some((stdout, error_line)) = read else {
        return Err(failed(format!("it does not end within {limit:?}")));
    };
    if stdout.len() > MAX_RAW_BYTES {
        return Err(DatasourceError::TooLarge { path: program.into(), limit: MAX_RAW_BYTES });
    }
    let error_line = String::from_utf8_lossy(&error_line);
    let error_line =
        error_line.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Ok(ToolOutput { status, stdout, error_line })
}

/// Both outputs up to their end; `None` on timeout.
fn read(child: &mut Child, limit: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
    let (stdout, error_line) = (child.stdout.take()?, child.stderr.take()?);
    let (sender, read) = channel();
    // Not joined: a grandchild may hold the pipe open longer than the program lives.
    let stderr_reader = thread::spawn(move || read_capped(error_line, MAX_ERROR_BYTES));
    thread::spawn(move || {
        let stdout = read_capped(stdout, MAX_RAW_BYTES + 1);
        // The receiver is closed after a timeout.
        sender.send((stdout, stderr_reader.join().unwrap_or_default())).unwrap_or(());
    });
    read.recv_timeout(limit).ok()
}

/// Read errors truncate: the exit status tells whether the output is complete.
fn read_capped(from: impl Read, limit: usize) -> Vec<u8> {
    let mut content = Vec::new();
    from.take(limit as u64).read_to_end(&mut content).unwrap_or_default();
    content
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<ToolOutput, String> {
        run_with_timeout(Path::new("/bin/sh"), &["-c", script], limit).map_err(|error| error.to_string())
    }

    #[test]
    fn output_is_capped_in_size_and_time() {
        let long = Duration::from_secs(60);
        let output = sh("printf 'a\n'; echo; echo ' no ' >&2; echo more >&2; exit 3", long).unwrap();
        assert_eq!(
            (output.status.code(), &*output.stdout, &*output.error_line),
            (Some(3), &b"a\n\n"[..], "no")
        );
        let start = Instant::now();
        let timeout_error = sh("echo hush; sleep 60", Duration::from_millis(200)).err().unwrap();
        assert_eq!(timeout_error, "/bin/sh cannot be asked: it does not end within 200ms");
        let size_error = sh("cat /dev/zero", long).err().unwrap();
        assert_eq!(size_error, "/bin/sh has more than 16777216 bytes");
        assert!(start.elapsed() < long, "{:?}", start.elapsed());
        assert!(run(Path::new("/no/program"), &[]).is_err());
        assert_eq!(find(&["no-such-program"]), None);
        assert!(find(&["no-such-program", "sh"]).is_some());
    }
}
