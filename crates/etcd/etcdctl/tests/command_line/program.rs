//! Runs an `etcdctl` and returns a transcript of its output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    before: Vec<String>,
    /// The complete environment, except for PATH.
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

    /// Prepends an argument to those of later calls.
    pub fn before(mut self, argument: &str) -> Program {
        self.before.push(argument.to_owned());
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.before)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.clone());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Lines of standard output as `out| …`, then those of standard error as `err| …`, then the exit code unless it
    /// is 0.
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
            text.push_str(&format!("{}\n", format!("{mark} {line}{end}").trim_end()));
        }
    }
    match output.status.code() {
        Some(0) => text,
        Some(code) => format!("{text}exit {code}\n"),
        None => format!("{text}ended by a signal\n"),
    }
}
