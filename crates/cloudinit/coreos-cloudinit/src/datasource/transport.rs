//! Programs that ask the hypervisor: they are looked up on `PATH`, and what they say is capped in size and time.
//!
//! What they say on standard output may be secret: it must never reach a log or a message.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::provider::Get;

use super::error::DatasourceError;

const LIMIT: Duration = Duration::from_secs(10);
/// Of what a program complains of.
const MAX_COMPLAINT_BYTES: usize = 300;

/// What one run said.
pub(super) struct Said {
    pub status: ExitStatus,
    pub output: Vec<u8>,
    /// On standard error, one line.
    pub complaint: String,
}

/// The first of these programs that is there.
pub(super) fn find(programs: &[&'static str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let candidates = programs.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|file| file.is_file())
}

/// What `read` makes of the keys that `ask` gives; nothing where one could not be asked for.
pub(super) fn with_keys<T>(
    mut ask: impl FnMut(&str) -> Result<Option<String>, DatasourceError>,
    read: impl FnOnce(&mut Get<'_>) -> T,
) -> Result<T, DatasourceError> {
    let mut failure = None;
    let made = read(&mut |key| {
        if failure.is_some() {
            return None;
        }
        ask(key).unwrap_or_else(|error| {
            failure = Some(error);
            None
        })
    });
    failure.map_or(Ok(made), Err)
}

/// # Errors
/// It cannot be run, takes too long, or says too much.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> Result<Said, DatasourceError> {
    ask_within(program, arguments, LIMIT)
}

fn ask_within(program: &Path, arguments: &[&str], limit: Duration) -> Result<Said, DatasourceError> {
    let failed = |reason: String| DatasourceError::Program { program: program.into(), reason };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let read = read(&mut child, limit);
    if read.as_ref().is_none_or(|(output, _)| output.len() > MAX_RAW_BYTES) {
        // It may have ended by itself.
        child.kill().unwrap_or(());
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    let Some((output, complaint)) = read else {
        return Err(failed(format!("it does not end within {limit:?}")));
    };
    if output.len() > MAX_RAW_BYTES {
        return Err(DatasourceError::TooLarge { path: program.into(), limit: MAX_RAW_BYTES });
    }
    let complaint = String::from_utf8_lossy(&complaint);
    let complaint =
        complaint.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    Ok(Said { status, output, complaint })
}

/// Both outputs to their ends, `None` where these do not come in time.
fn read(child: &mut Child, limit: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
    let (output, complaint) = (child.stdout.take()?, child.stderr.take()?);
    let (sender, read) = channel();
    // Not joined: who holds the other end may live longer than the program.
    let complaining = thread::spawn(move || capped(complaint, MAX_COMPLAINT_BYTES));
    thread::spawn(move || {
        let output = capped(output, MAX_RAW_BYTES + 1);
        // Nobody listens any more once the time is over.
        sender.send((output, complaining.join().unwrap_or_default())).unwrap_or(());
    });
    read.recv_timeout(limit).ok()
}

/// What could be read: the program's exit status says whether it is all.
fn capped(from: impl Read, limit: usize) -> Vec<u8> {
    let mut content = Vec::new();
    from.take(limit as u64).read_to_end(&mut content).unwrap_or_default();
    content
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sh(script: &str, limit: Duration) -> Result<Said, String> {
        ask_within(Path::new("/bin/sh"), &["-c", script], limit).map_err(|error| error.to_string())
    }

    #[test]
    fn what_programs_say() {
        let long = Duration::from_secs(60);
        let said = sh("printf 'a\n'; echo; echo ' no ' >&2; echo more >&2; exit 3", long).unwrap();
        assert_eq!((said.status.code(), &*said.output, &*said.complaint), (Some(3), &b"a\n\n"[..], "no"));
        let start = Instant::now();
        let slow = sh("echo hush; sleep 60", Duration::from_millis(200)).err().unwrap();
        assert_eq!(slow, "/bin/sh cannot be asked: it does not end within 200ms");
        let much = sh("cat /dev/zero", long).err().unwrap();
        assert_eq!(much, "/bin/sh has more than 16777216 bytes");
        assert!(start.elapsed() < long, "{:?}", start.elapsed());
        assert!(ask(Path::new("/no/program"), &[]).is_err());
        assert_eq!(find(&["no-such-program"]), None);
        assert!(find(&["no-such-program", "sh"]).is_some());
    }
}
