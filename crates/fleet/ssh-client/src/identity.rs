//! Private keys of the user: validation of files, and the number of keys in the agent.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::{Error, lower_case};
use crate::limits::RESPONSE_BYTES;

/// How long an agent may take to list its keys.
const AGENT_WAIT: Duration = Duration::from_secs(10);

/// Message types of the agent protocol.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// Fails if the file has no private key or one with a passphrase, which `ssh` would skip silently.
pub fn check(path: &Path) -> Result<(), Error> {
    let absolute = std::path::absolute(path).map_err(Error::Local)?;
    let mut command = Command::new("ssh-keygen");
    command.args(["-y", "-P", "", "-f"]).arg(&absolute).stdin(Stdio::null());
    let output = command.output().map_err(Error::Client)?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let cause = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("ssh-keygen cannot read it");
    // `Load key "PATH": CAUSE`, or `PATH: CAUSE`.
    let cause = cause.rsplit_once(": ").map_or(cause, |(_, cause)| cause).trim_end();
    let cause = match cause {
        "bad permissions" => "others may read it (chmod 600)",
        other => other,
    };
    Err(Error::Identity { path: path.to_owned(), cause: cause.to_owned() })
}

/// The number of keys in the agent.
pub fn agent_keys(path: &Path) -> Result<usize, Error> {
    request_identities(path)
        .map_err(|error| Error::Agent { path: path.to_owned(), cause: lower_case(&error) })
}

fn request_identities(path: &Path) -> io::Result<usize> {
    let mut agent = UnixStream::connect(path)?;
    agent.set_read_timeout(Some(AGENT_WAIT))?;
    agent.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES])?;
    // Length, type, and number of keys.
    let mut response = [0; 9];
    agent.read_exact(&mut response)?;
    let [a, b, c, d, kind, count @ ..] = response;
    if kind != IDENTITIES_ANSWER {
        return Err(io::Error::other("the agent does not list its keys"));
    }
    // Agents log an error if the response is not read.
    let keys = u32::from_be_bytes([a, b, c, d]).saturating_sub(5);
    io::copy(&mut agent.take(u64::from(keys).min(RESPONSE_BYTES)), &mut io::sink())?;
    Ok(u32::from_be_bytes(count) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn responses_of_an_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        assert!(
            agent_keys(&path).unwrap_err().to_string().ends_with("agent: connect: no such file or directory")
        );
        let listener = UnixListener::bind(&path).unwrap();
        let agent = std::thread::spawn(move || {
            for response in [&b"\0\0\0\x07\x0c\0\0\0\x02ab"[..], b"\0\0\0\x01\x05....", b""] {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 5]).unwrap();
                stream.write_all(response).unwrap();
            }
        });
        assert_eq!(agent_keys(&path).unwrap(), 2);
        assert!(agent_keys(&path).unwrap_err().to_string().ends_with("the agent does not list its keys"));
        assert!(agent_keys(&path).is_err());
        agent.join().unwrap();
    }
}
