//! Runs an `etcdctl` and gives what it did, as a transcript.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    before: Vec<String>,
    /// Besides these the environment is empty, but for PATH.
    environment: Vec<(String, String)>,
}

impl Program {
    pub fn ours() -> Program {
        Program::at(Path::new(env!("CARGO_BIN_EXE_etcdctl")))
    }

    pub fn at(path: &Path) -> Program {
        Program { path: path.to_owned(), before: Vec::new(), environment: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Program {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A word before all that are given later.
    pub fn before(mut self, word: &str) -> Program {
        self.before.push(word.to_owned());
        self
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.before)
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.clone());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, words: &[&str]) -> Child {
        self.command(words).spawn().unwrap()
    }

    /// Lines of standard output as `out| …`, then those of standard error, then the exit code if not 0.
    pub fn run(&self, words: &[&str], input: &str) -> String {
        let mut child = self.start(words);
        let mut stdin = child.stdin.take().unwrap();
        // A program that does not read its input may be gone already.
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
            text.push_str(&format!("{}\n", format!("{mark} {line}{end}").trim_end()));
        }
    }
    match output.status.code() {
        Some(0) => text,
        Some(code) => format!("{text}exit {code}\n"),
        None => format!("{text}ended by a signal\n"),
    }
}
