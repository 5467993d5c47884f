//! A channel server on the host, and its operator's commands.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::versions::Keys;
use crate::failure::{Failure, expect};
use crate::scenario::Context;

pub struct Channel {
    child: Child,
    program: PathBuf,
    data: PathBuf,
    /// URL on this host.
    url: String,
}

impl Channel {
    pub fn open(context: &Context<'_>, keys: &Keys) -> Result<Self, Failure> {
        let (program, data) = (&context.run.background.program, context.site.layout().root().join("channel"));
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
        let mut output = String::new();
        if let Some(stdout) = child.stdout.take() {
            let mut lines = BufReader::new(stdout);
            while !output.ends_with("}\n") && lines.read_line(&mut output).map_err(failed)? > 0 {}
        }
        let value: serde_json::Value = serde_json::from_str(&output).unwrap_or_default();
        let url = value.get("url").and_then(|url| url.as_str()).map(str::to_owned);
        let channel = Self { child, program: program.clone(), data, url: url.unwrap_or_default() };
        let port = channel.port().parse();
        expect(port.is_ok(), "a channel server", &output)?;
        context.site.expose_host_port(port.unwrap_or_default())?;
        Ok(channel)
    }

    /// URL as machines reach it.
    pub fn server(&self) -> String {
        format!("http://host.keelson:{}/v1/update/", self.port())
    }

    fn port(&self) -> &str {
        self.url.trim_end_matches('/').rsplit(':').next().unwrap_or_default()
    }

    /// Runs an operator's command and returns its output.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KEELSON_UPDATE_SERVER", &self.url)
            .arg("--token-file")
            .arg(self.data.join("admin.token"))
            .output()
            .map_err(|source| Failure::Disk { path: self.program.clone(), source })?;
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        expect(output.status.success(), &format!("{arguments:?} to be done"), &text)?;
        Ok(text)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
