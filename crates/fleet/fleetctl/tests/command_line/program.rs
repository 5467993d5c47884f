//! Runs `fleetctl` and records a transcript.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[derive(Debug, Clone)]
pub struct Program {
    folder: PathBuf,
    /// In addition to PATH and HOME.
    environment: Vec<(String, String)>,
}

impl Program {
    /// Runs in `folder`, which is also HOME.
    pub fn in_folder(folder: &Path) -> Program {
        Program { folder: folder.to_owned(), environment: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Program {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetctl"));
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.folder)
            .envs(self.environment.clone());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Lines of standard output as `out| …`, then those of standard error, then the exit code if not 0.
    pub fn run(&self, arguments: &[&str], input: &str) -> String {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().unwrap();
        // A program that does not read its input may have exited.
        if let Err(error) = stdin.write_all(input.as_bytes()) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }
        drop(stdin);
        transcript(&child.wait_with_output().unwrap())
    }
}

pub fn transcript(output: &Output) -> String {
    let mut text = String::new();
    for (mark, bytes) in [("out|", &output.stdout), ("err|", &output.stderr)] {
        for line in String::from_utf8_lossy(bytes).split_inclusive('\n') {
            let (line, end) = match line.strip_suffix('\n') {
                Some(line) => (line, ""),
                None => (line, " (no end of line)"),
            };
            let line = line.replace('\t', "<TAB>");
            text.push_str(&format!("{}\n", format!("{mark} {line}{end}").trim_end()));
        }
    }
    match output.status.code() {
        Some(0) => text,
        Some(code) => format!("{text}exit {code}\n"),
        None => format!("{text}ended by a signal\n"),
    }
}
