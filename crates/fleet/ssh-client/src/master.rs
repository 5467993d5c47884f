//! The process `ssh` that holds one connection: OpenSSH's master, to which sessions and streams come over its control
//! socket.
//!
//! It must never prompt, write to this process's standard output or error, or trust a host key that it was not given.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::control::Control;
use crate::error::Error;
use crate::folder::Folder;
use crate::host_key::HostKey;
use crate::relay::Transport;
use crate::report::Report;
use crate::settings::Settings;

/// What `ssh` calls the host: it needs no address, and one could be taken for an option.
const HOST: &str = "host";

/// Files of the folder, which is the working directory of `ssh`: so no path needs quotes or escapes.
const SOCKET: &str = "s";
const KNOWN_HOSTS: &str = "known_hosts";
const IDENTITY: &str = "identity";
const SHOWN: &str = "shown";

/// No file of options is read: what is not here has OpenSSH's default.
const OPTIONS: [&str; 12] = [
    "BatchMode=yes",
    // Standard input and output are the connection (since OpenSSH 6.5).
    "ProxyCommand=-",
    "HostKeyAlias=host",
    "UserKnownHostsFile=known_hosts",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    // Certificates need authorities, which files of known hosts do not name here.
    "HostKeyAlgorithms=-*-cert-v01@openssh.com",
    "PreferredAuthentications=publickey",
    // Servers before OpenSSH 7.2 know no other signature of RSA keys; it comes last.
    "PubkeyAcceptedAlgorithms=+ssh-rsa",
    // A silent server is asked for a sign of life after this time, and given up after three.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "LogLevel=INFO",
];

/// Keeps the key that the host shows for us (since OpenSSH 8.5). It prints no key, and so adds no trust.
const SHOW: &str = r#"KnownHostsCommand=/bin/sh -c 'echo "$1 $2" >shown' sh %t %K"#;

/// How often the folder is checked for the socket, which appears when the login is done.
const POLL: Duration = Duration::from_millis(5);

/// Whose keys are shown to the server. Not both at once: OpenSSH would try all of the agent's before the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys<'a> {
    File(&'a Path),
    Agent,
}

pub struct Master {
    ssh: Child,
    folder: Folder,
    report: Report,
}

/// What `ssh` left that exited before it was logged in.
pub struct Failure {
    /// The key that the host showed, where it came to that.
    pub host_key: Option<HostKey>,
    /// OpenSSH's messages.
    pub report: String,
}

impl Master {
    /// With `trusted: None`, any host key will do.
    pub fn start(
        settings: &Settings,
        keys: Keys<'_>,
        trusted: Option<Vec<&HostKey>>,
        transport: Transport,
    ) -> Result<Master, Error> {
        let folder = Folder::new()?;
        prepare(&folder, keys, trusted.as_deref()).map_err(Error::Local)?;
        let (report, errors) = Report::start().map_err(Error::Local)?;
        let mut command = command(settings, keys, trusted.is_some()).map_err(Error::Local)?;
        command.current_dir(folder.path());
        command.stdin(transport.input).stdout(transport.output).stderr(errors);
        let ssh = command.spawn().map_err(Error::Client)?;
        Ok(Master { ssh, folder, report })
    }

    /// Waits until it is logged in; false where it exits before.
    pub async fn logged_in(&mut self) -> io::Result<bool> {
        let socket = self.socket();
        loop {
            if socket.exists() {
                return Ok(true);
            }
            if self.ssh.try_wait()?.is_some() {
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Of one that exited.
    pub async fn failure(&self) -> io::Result<Failure> {
        // Before the key exchange the command runs without a key, of kind `NONE`.
        let host_key = HostKey::parse(&self.folder.read(SHOWN)?);
        Ok(Failure { host_key, report: self.report.complete().await })
    }

    /// Why the last request was refused, where `ssh` reports it.
    pub async fn refusal(&self) -> Option<String> {
        self.report.take_after("open failed: ").await
    }

    /// A connection to the control socket, for one request.
    pub async fn control(&self) -> io::Result<Control> {
        Control::connect(&self.socket()).await
    }

    fn socket(&self) -> PathBuf {
        self.folder.socket(SOCKET)
    }
}

fn command(settings: &Settings, keys: Keys<'_>, strict: bool) -> io::Result<Command> {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-M", "-N", "-S", SOCKET, "-l", &settings.user]);
    let host_key: &[&str] =
        if strict { &["StrictHostKeyChecking=yes", SHOW] } else { &["StrictHostKeyChecking=no"] };
    let identity: &[&str] = match keys {
        // Not by -i, which falls back to ~/.ssh where there is no such file.
        Keys::File(_) => &["IdentityFile=identity", "IdentitiesOnly=yes"],
        Keys::Agent => &["IdentityFile=none"],
    };
    let agent: &[&str] = match &settings.agent {
        // A server could use it unasked.
        Some(_) if settings.forward_agent => &["ForwardAgent=yes"],
        _ => &["ForwardAgent=no"],
    };
    for option in [&OPTIONS, host_key, identity, agent].concat() {
        command.args(["-o", option]);
    }
    match &settings.agent {
        Some(agent) => command.env("SSH_AUTH_SOCK", std::path::absolute(agent)?),
        None => command.env_remove("SSH_AUTH_SOCK"),
    };
    command.arg(HOST);
    Ok(command)
}

fn prepare(folder: &Folder, keys: Keys<'_>, trusted: Option<&[&HostKey]>) -> io::Result<()> {
    let lines = trusted.unwrap_or_default().iter().map(|key| format!("{HOST} {key}\n"));
    folder.write(KNOWN_HOSTS, &lines.collect::<String>())?;
    match keys {
        Keys::File(path) => symlink(std::path::absolute(path)?, folder.path().join(IDENTITY)),
        Keys::Agent => Ok(()),
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // It may have exited already, and what is then left to do fails.
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_forwarded_only_where_that_is_asked() {
        let check = |agent: Option<&str>, forward_agent: bool, expect: &str| {
            let settings = Settings {
                user: "core".to_owned(),
                timeout: POLL,
                identity: None,
                agent: agent.map(PathBuf::from),
                forward_agent,
                known_hosts: None,
            };
            let command = command(&settings, Keys::Agent, true).unwrap();
            let options = command.get_args().filter_map(|argument| argument.to_str());
            let found: Vec<_> = options.filter(|option| option.starts_with("ForwardAgent")).collect();
            assert_eq!(found, [expect], "{agent:?} {forward_agent}");
            let socket = command.get_envs().find(|(name, _)| *name == "SSH_AUTH_SOCK").unwrap().1;
            assert_eq!(socket.and_then(|socket| socket.to_str()), agent);
        };
        check(Some("/agent"), true, "ForwardAgent=yes");
        check(Some("/agent"), false, "ForwardAgent=no");
        check(None, true, "ForwardAgent=no");
    }
}
