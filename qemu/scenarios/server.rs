//! A server of keelson on the host, which machines reach at host.keelson.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::failure::{Failure, expect};
use crate::scenario::Context;

pub struct Server {
    child: Child,
    pub program: PathBuf,
    /// URL on this host, without a slash at its end.
    pub url: String,
}

impl Server {
    /// Runs keelson with `arguments`. It prints JSON with its URL when it serves.
    pub fn start(context: &Context<'_>, arguments: &[&str]) -> Result<Self, Failure> {
        let program = &context.run.background.program;
        let failed = |source| Failure::Disk { path: program.clone(), source };
        let mut child = Command::new(program)
            .arg("--json")
            .args(arguments)
            .stdin(Stdio::null())
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
        let url = value.get("url").and_then(|url| url.as_str()).unwrap_or_default();
        let server = Self { child, program: program.clone(), url: url.trim_end_matches('/').to_owned() };
        let port = server.port().parse();
        expect(port.is_ok(), "a server's URL", &output)?;
        context.site.expose_host_port(port.unwrap_or_default())?;
        Ok(server)
    }

    /// URL as machines reach it.
    pub fn guest_url(&self) -> String {
        format!("http://host.keelson:{}", self.port())
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
