//! A channel server on the host, and its operator's commands.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::versions::Keys;
use crate::failure::{Failure, expect};
use crate::scenario::Stage;

pub struct Channel {
    child: Child,
    program: PathBuf,
    data: PathBuf,
    /// URL on this host.
    url: String,
}

impl Channel {
    pub fn open(stage: &Stage<'_>, keys: &Keys) -> Result<Self, Failure> {
        let (program, data) = (&stage.run.background.program, stage.site.layout().root().join("channel"));
        let failed = |source| Failure::Disk { path: program.clone(), source };
        let mut child = Command::new(program)
            .args(["serve-updates", "--listen", "127.0.0.1:0", "--json", "--data"])
            .arg(&data)
            .arg("--key")
            .arg(keys.channel_key())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout);
            while !said.ends_with("}\n") && lines.read_line(&mut said).map_err(failed)? > 0 {}
        }
        let value: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let url = value.get("url").and_then(|url| url.as_str()).map(str::to_owned);
        let channel = Self { child, program: program.clone(), data, url: url.unwrap_or_default() };
        expect(!channel.url.is_empty(), "a channel server", &said)?;
        Ok(channel)
    }

    /// URL as machines reach it.
    pub fn server(&self) -> String {
        let port = self.url.trim_end_matches('/').rsplit(':').next().unwrap_or_default();
        format!("http://host.keelson:{port}/v1/update/")
    }

    /// Runs an operator's command and returns its output.
    pub fn done(&self, words: &[&str]) -> Result<String, Failure> {
        let output = Command::new(&self.program)
            .args(words)
            .env("KEELSON_UPDATE_SERVER", &self.url)
            .arg("--token-file")
            .arg(self.data.join("admin.token"))
            .output()
            .map_err(|source| Failure::Disk { path: self.program.clone(), source })?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        expect(output.status.success(), &format!("{words:?} to be done"), &said)?;
        Ok(said)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
