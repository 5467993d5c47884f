//! QEMU's machine protocol: one command at a time over its unix socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    #[error("no answer on {path}")]
    Socket { path: PathBuf, source: io::Error },
    #[error("an answer on {path} is not JSON")]
    Format { path: PathBuf, source: serde_json::Error },
    #[error("{command} was refused: {said}")]
    Refused { command: String, said: String },
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
        stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
        let mut qmp = Self { path: path.to_path_buf(), reader: BufReader::new(stream) };
        qmp.line()?;
        qmp.run("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Runs a command without arguments and returns its answer.
    pub fn run(&mut self, command: &str) -> Result<Value, QmpError> {
        self.run_with(command, &json!({}))
    }

    /// Runs a command and returns its answer.
    pub fn run_with(&mut self, command: &str, arguments: &Value) -> Result<Value, QmpError> {
        let order = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        let path = self.path.clone();
        self.reader
            .get_mut()
            .write_all(order.as_bytes())
            .map_err(|source| QmpError::Socket { path, source })?;
        loop {
            // Events may come before the answer.
            let mut answer = self.line()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let said = error.get("desc").and_then(Value::as_str).unwrap_or("?").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), said });
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
    fn events_between_command_and_answer_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"{\"QMP\":{}}\n").unwrap();
            let mut asked = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in [
                "{\"return\":{}}\n",
                "{\"event\":\"X\"}\n{\"return\":{\"status\":\"running\"}}\n",
                "{\"error\":{\"desc\":\"no\"}}\n",
            ] {
                reader.read_line(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let mut qmp = Qmp::connect(&path).unwrap();
        assert_eq!(qmp.run("query-status").unwrap()["status"], "running");
        let error = qmp.run("quit").unwrap_err().to_string();
        assert_eq!(error, "quit was refused: no");
        assert!(server.join().unwrap().contains("query-status"));
    }
}
