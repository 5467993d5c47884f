//! The `ssh` master process of a connection, which serves sessions and streams on its control socket.
//!
//! It never prompts, never writes to the standard output or error of this process, and trusts only the host keys that
//! it is started with.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use crate::control::Control;
use crate::error::Error;
use crate::host_key::HostKey;
use crate::relay::Transport;
use crate::runtime_dir::RuntimeDir;
use crate::settings::Settings;
use crate::stderr_log::StderrLog;

/// Name of the host for `ssh`. It does not connect, and an address could look like an option.
const HOST: &str = "host";

/// Files in the runtime directory, the working directory of `ssh`, so that no path needs quoting.
const SOCKET: &str = "s";
const KNOWN_HOSTS: &str = "known_hosts";
const IDENTITY: &str = "identity";
const PRESENTED_KEY: &str = "shown";

/// Other options have OpenSSH's defaults, as no configuration file is read.
const OPTIONS: [&str; 12] = [
    "BatchMode=yes",
    // Standard input and output are the connection (since OpenSSH 6.5).
    "ProxyCommand=-",
    "HostKeyAlias=host",
    "UserKnownHostsFile=known_hosts",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    // Known hosts files have no certificate authorities here.
    "HostKeyAlgorithms=-*-cert-v01@openssh.com",
    "PreferredAuthentications=publickey",
    // Servers before OpenSSH 7.2 support no other signature of RSA keys; lowest priority.
    "PubkeyAcceptedAlgorithms=+ssh-rsa",
    // Keepalive interval; the connection is closed after three failures.
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "LogLevel=INFO",
];

/// Records the key that the host presents (since OpenSSH 8.5). Prints no key, so that none is trusted.
const RECORD_HOST_KEY: &str = r#"KnownHostsCommand=/bin/sh -c 'echo "$1 $2" >shown' sh %t %K"#;

/// Interval of checks for the socket, which `ssh` creates after the login.
const POLL: Duration = Duration::from_millis(5);

/// The keys to offer. Not both: OpenSSH tries all keys of the agent before the file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource<'a> {
    File(&'a Path),
    Agent,
}

pub struct Master {
    ssh: Child,
    runtime_dir: RuntimeDir,
    stderr_log: StderrLog,
}

/// A failed login.
pub struct Failure {
    /// The key that the host presented, if any.
    pub host_key: Option<HostKey>,
    /// OpenSSH's messages.
    pub messages: String,
}

impl Master {
    /// `trusted: None` accepts any host key.
    pub fn start(
        settings: &Settings,
        key_source: KeySource<'_>,
        trusted: Option<Vec<&HostKey>>,
        transport: Transport,
    ) -> Result<Master, Error> {
        let runtime_dir = RuntimeDir::new()?;
        prepare(&runtime_dir, key_source, trusted.as_deref()).map_err(Error::Local)?;
        let (stderr_log, errors) = StderrLog::start().map_err(Error::Local)?;
        let mut command = command(settings, key_source, trusted.is_some()).map_err(Error::Local)?;
        command.current_dir(runtime_dir.path());
        command.stdin(transport.input).stdout(transport.output).stderr(errors);
        let ssh = command.spawn().map_err(Error::Client)?;
        Ok(Master { ssh, runtime_dir, stderr_log })
    }

    /// Waits for the login. Returns false if `ssh` exits before.
    pub async fn wait_for_login(&mut self) -> io::Result<bool> {
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

    /// The reason of a failed login, after the exit of `ssh`.
    pub async fn failure(&self) -> io::Result<Failure> {
        // Before the key exchange, the recorded key has the type `NONE`.
        let host_key = HostKey::parse(&self.runtime_dir.read(PRESENTED_KEY)?);
        Ok(Failure { host_key, messages: self.stderr_log.complete().await })
    }

    /// The reason for the last rejected request, if `ssh` reports one.
    pub async fn refusal(&self) -> Option<String> {
        self.stderr_log.take_after("open failed: ").await
    }

    /// Connects to the control socket for one request.
    pub async fn control(&self) -> io::Result<Control> {
        Control::connect(&self.socket()).await
    }

    fn socket(&self) -> PathBuf {
        self.runtime_dir.socket(SOCKET)
    }
}

fn command(settings: &Settings, key_source: KeySource<'_>, strict: bool) -> io::Result<Command> {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-M", "-N", "-S", SOCKET, "-l", &settings.user]);
    let host_key: &[&str] =
        if strict { &["StrictHostKeyChecking=yes", RECORD_HOST_KEY] } else { &["StrictHostKeyChecking=no"] };
    let identity: &[&str] = match key_source {
        // Not -i, which falls back to ~/.ssh if the file is missing.
        KeySource::File(_) => &["IdentityFile=identity", "IdentitiesOnly=yes"],
        KeySource::Agent => &["IdentityFile=none"],
    };
    let agent: &[&str] = match &settings.agent {
        // A server could use the agent at any time.
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

fn prepare(
    runtime_dir: &RuntimeDir,
    key_source: KeySource<'_>,
    trusted: Option<&[&HostKey]>,
) -> io::Result<()> {
    let lines = trusted.unwrap_or_default().iter().map(|key| format!("{HOST} {key}\n"));
    runtime_dir.write(KNOWN_HOSTS, &lines.collect::<String>())?;
    match key_source {
        KeySource::File(path) => symlink(std::path::absolute(path)?, runtime_dir.path().join(IDENTITY)),
        KeySource::Agent => Ok(()),
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        // Fails if it has exited already.
        drop(self.ssh.kill());
        drop(self.ssh.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_is_forwarded_only_on_request() {
        let check = |agent: Option<&str>, forward_agent: bool, expect: &str| {
            let settings = Settings {
                user: "core".to_owned(),
                timeout: POLL,
                identity: None,
                agent: agent.map(PathBuf::from),
                forward_agent,
                known_hosts: None,
            };
            let command = command(&settings, KeySource::Agent, true).unwrap();
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
