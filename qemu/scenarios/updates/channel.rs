//! A channel server on the host, and its operator's commands.

use std::path::PathBuf;
use std::process::Command;

use super::versions::Keys;
use crate::failure::{Failure, expect};
use crate::scenario::Context;
use crate::scenarios::server::Server;

pub struct Channel {
    server: Server,
    data: PathBuf,
}

impl Channel {
    pub fn open(context: &Context<'_>, keys: &Keys) -> Result<Self, Failure> {
        let data = context.site.layout().root().join("channel");
        let [folder, key] =
            [data.clone(), keys.channel_key()].map(|path| path.to_string_lossy().into_owned());
        let arguments = ["serve-updates", "--listen", "127.0.0.1:0", "--data", &folder, "--key", &key];
        Ok(Self { server: Server::start(context, &arguments)?, data })
    }

    /// URL as machines reach it.
    pub fn server(&self) -> String {
        format!("{}/v1/update/", self.server.guest_url())
    }

    /// Runs an operator's command and returns its output.
    pub fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = Command::new(&self.server.program)
            .args(arguments)
            .env("KEELSON_UPDATE_SERVER", &self.server.url)
            .arg("--token-file")
            .arg(self.data.join("admin.token"))
            .output()
            .map_err(|source| Failure::Disk { path: self.server.program.clone(), source })?;
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        expect(output.status.success(), &format!("{arguments:?} to be done"), &text)?;
        Ok(text)
    }
}
