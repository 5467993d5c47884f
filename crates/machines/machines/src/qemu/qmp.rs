//! QEMU Machine Protocol (QMP) client: one command at a time over a unix socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

const READ_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    #[error("no response on {path}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("a response on {path} is not JSON")]
    Format { path: PathBuf, source: serde_json::Error },
    #[error("{command} failed: {message}")]
    Refused { command: String, message: String },
}

#[derive(Debug)]
pub struct Qmp {
    path: PathBuf,
    reader: BufReader<UnixStream>,
}

impl Qmp {
    pub fn connect(path: &Path) -> Result<Self, QmpError> {
        let failed = |source| QmpError::Socket { path: path.to_path_buf(), source };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(failed)?;
        let mut qmp = Self { path: path.to_path_buf(), reader: BufReader::new(stream) };
        qmp.line()?;
        qmp.run("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments and returns its result.
    pub fn run(&mut self, command: &str) -> Result<Value, QmpError> {
        self.run_with(command, &json!({}))
    }

    pub fn run_with(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let request = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        let path = self.path.clone();
        self.reader
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(|source| QmpError::Socket { path, source })?;
        loop {
            // Events may precede the response.
            let mut response = self.line()?;
            if let Some(value) = response.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = response.get("error") {
                let message = error.get("desc").and_then(Value::as_str).unwrap_or("?").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), message });
            }
        }
    }

    fn line(&mut self) -> Result<Value, QmpError> {
        let failed = |source| QmpError::Socket { path: self.path.clone(), source };
        let mut line = String::new();
        if self.reader.read_line(&mut line).map_err(failed)? == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line).map_err(|source| QmpError::Format { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn events_before_the_response_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut requests = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for response in [
                "{\"return\":{}}\n",
                "{\"event\":\"X\"}\n{\"return\":{\"status\":\"running\"}}\n",
                "{\"error\":{\"desc\":\"no\"}}\n",
            ] {
                reader.read_line(&mut requests).unwrap();
                stream.write_all(response.as_bytes()).unwrap();
            }
            requests
        });
        let mut qmp = Qmp::connect(&path).unwrap();
        assert_eq!(qmp.run("query-status").unwrap()["status"], "running");
        let error = qmp.run("quit").unwrap_err().to_string();
        assert_eq!(error, "quit failed: no");
        assert!(server.join().unwrap().contains("query-status"));
    }
}
