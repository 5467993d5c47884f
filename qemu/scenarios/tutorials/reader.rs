//! A reader of the tutorials: a folder of their own, and a cluster that they boot with `keelson` as any user does.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::kv::NODES;
use super::host::output;
use crate::failure::Failure;
use crate::scenario::Context;

/// The default of `keelson`. Machine ids derive from the name, and so does where fleet places units.
const CLUSTER: &str = "default";
/// The manifest of the image, in the reader's folder.
const IMAGE: &str = "image.json";

pub struct Reader<'a> {
    pub context: &'a Context<'a>,
    /// Working directory and home of the reader.
    pub folder: PathBuf,
    /// `--state-dir`: below the scenario's folder, so that a failed scenario keeps it.
    pub state: PathBuf,
}

impl<'a> Reader<'a> {
    fn new(context: &'a Context<'a>) -> Result<Self, Failure> {
        let state = context.site.layout().root().to_path_buf();
        let reader = Self { context, folder: state.join("reader"), state };
        fs::create_dir_all(&reader.folder).map_err(disk(&reader.folder))?;
        let manifest = serde_json::to_string(&context.run.image)
            .map_err(|error| Failure::Expected(format!("cannot serialize the image's manifest: {error}")))?;
        reader.write(IMAGE, &manifest)?;
        Ok(reader)
    }

    /// A program of the host, in the reader's folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env("KEELSON_IMAGE", self.folder.join(IMAGE));
        command
    }

    /// `keelson`, with the options for the reader's cluster: by no mistake is it that of whoever runs the scenario.
    pub fn keelson(&self) -> [&OsStr; 5] {
        let program = self.context.run.background.program.as_os_str();
        [program, "--state-dir".as_ref(), self.state.as_os_str(), "--cluster".as_ref(), CLUSTER.as_ref()]
    }

    pub fn keelson_command(&self, arguments: &[&str]) -> Command {
        let [program, options @ ..] = self.keelson();
        let mut command = self.command(program);
        command.args(options).args(arguments);
        command
    }

    /// What this `keelson` command prints.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        output(&mut self.keelson_command(arguments))
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(disk(&path))
    }

    /// Stops the machines. Their journals, consoles and disks stay.
    fn stop_and_keep(&self) -> Result<(), Failure> {
        for number in 1..=NODES {
            let name = format!("core-{number:02}");
            let journal = ["ssh", &name, "--", "sudo journalctl --no-pager --output=short-monotonic"];
            // A machine that is off has none to give.
            if let Ok(text) = self.run(&journal) {
                self.write(&format!("{name}.journal"), &text)?;
            }
        }
        self.run(&["down"])?;
        Ok(())
    }
}

/// Runs a function with a new reader. No machine of theirs runs afterwards; if it fails, their disks are kept.
pub fn with_reader<'a>(
    context: &'a Context<'a>,
    run: impl FnOnce(&Reader<'a>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let reader = Reader::new(context)?;
    let result = run(&reader);
    if reader.run(&["status"]).is_err() {
        return result;
    }
    match &result {
        Ok(()) => drop(reader.run(&["destroy"])?),
        Err(_) => {
            if let Err(error) = reader.stop_and_keep() {
                eprintln!("cannot stop the machines of {}: {}", reader.state.display(), error.chain());
            }
        }
    }
    result
}

pub fn disk(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    |source| Failure::Disk { path: path.to_path_buf(), source }
}
