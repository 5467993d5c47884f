//! Opens connections, directly and through others, and streams inside of them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use tokio::net::TcpStream;

use crate::control::{Control, Session, is_end};
use crate::error::{Error, lower_case};
use crate::identity;
use crate::master::{Failure, Keys, Master};
use crate::relay::{Transport, relay};
use crate::settings::{Address, Settings};
use crate::stream::Stream;
use crate::trust::Trust;

/// An authenticated connection. It ends when it is dropped.
pub struct Connection {
    pub(crate) master: Master,
    /// The agent may be used over there.
    pub(crate) forwards_agent: bool,
    /// Of a second hop: what its bytes pass through the first on.
    _hop: Option<Control>,
}

/// The way to a host.
#[derive(Clone, Copy)]
enum Route<'a> {
    Direct,
    Through(&'a Connection),
}

impl Connection {
    pub async fn open(settings: &Settings, address: &Address) -> Result<Connection, Error> {
        login(settings, address, Route::Direct).await
    }

    /// A second hop inside this connection. The other side's key is looked up under its own address.
    pub async fn through(&self, settings: &Settings, address: &Address) -> Result<Connection, Error> {
        login(settings, address, Route::Through(self)).await
    }

    /// A TCP connection that the other side opens.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<Stream, Error> {
        let (transport, control) = self.forward(host, port).await?;
        Stream::new(transport.input, transport.output, control).map_err(Error::Local)
    }

    /// A command's standard input and output.
    pub async fn command(&self, command: &str) -> Result<Stream, Error> {
        let (input, sent) = io::pipe().map_err(Error::Local)?;
        let (received, output) = io::pipe().map_err(Error::Local)?;
        let errors = File::options().write(true).open("/dev/null").map_err(Error::Local)?;
        let control = self.session(command, None, [input.into(), output.into(), errors.into()]).await?;
        Stream::new(received, sent, control).map_err(Error::Local)
    }

    pub(crate) async fn session(
        &self,
        command: &str,
        terminal: Option<&str>,
        files: [OwnedFd; 3],
    ) -> Result<Control, Error> {
        let mut control = self.master.control().await.map_err(broken)?;
        let session = Session { command, terminal, agent: self.forwards_agent };
        match control.session(&session, files).await.map_err(broken)? {
            true => Ok(control),
            false => Err(self.refused("open a session").await),
        }
    }

    async fn forward(&self, host: &str, port: u16) -> Result<(Transport, Control), Error> {
        let (input, sent) = io::pipe().map_err(Error::Local)?;
        let (received, output) = io::pipe().map_err(Error::Local)?;
        let mut control = self.master.control().await.map_err(broken)?;
        match control.forward(host, port, [input.into(), output.into()]).await.map_err(broken)? {
            true => Ok((Transport { input: received, output: sent }, control)),
            false => Err(self.refused(&format!("connect to {}", Address::new(host, port))).await),
        }
    }

    /// With the reason, which is not in the reply.
    async fn refused(&self, request: &str) -> Error {
        match self.master.refusal().await {
            Some(reason) => Error::Refused(format!("{request}: {reason}")),
            None => Error::Refused(request.to_owned()),
        }
    }
}

/// An error of the control socket.
pub(crate) fn broken(error: io::Error) -> Error {
    if is_end(&error) { Error::Cut } else { Error::Local(error) }
}

impl Route<'_> {
    async fn dial(self, address: &Address) -> Result<(Transport, Option<Control>), Error> {
        let Route::Through(connection) = self else { return Ok((tcp(address).await?, None)) };
        let (transport, control) = connection.forward(&address.host, address.port).await?;
        Ok((transport, Some(control)))
    }
}

async fn tcp(address: &Address) -> Result<Transport, Error> {
    let failed = |error: io::Error| {
        let cause = format!("connect: {}", lower_case(&error));
        Error::Dial { address: format!("{}:{}", address.host, address.port), cause }
    };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let stream = stream.into_std().map_err(failed)?;
    stream.set_nonblocking(false).map_err(failed)?;
    relay(stream).map_err(Error::Local)
}

/// Starts `ssh`; again with a host key that the user accepts, and again with the agent's keys where the file's is refused.
async fn login(settings: &Settings, address: &Address, route: Route<'_>) -> Result<Connection, Error> {
    let mut keys = first_keys(settings)?;
    let mut trust = None;
    loop {
        let dialled = tokio::time::timeout(settings.timeout, route.dial(address));
        let (transport, hop) = dialled.await.map_err(|_| Error::TimedOut)??;
        let trust = match &mut trust {
            Some(trust) => trust,
            unread => unread.insert(Trust::read(settings, address)?),
        };
        let mut master = Master::start(settings, keys, trust.keys(), transport)?;
        let done = tokio::time::timeout(settings.timeout, master.logged_in());
        if done.await.map_err(|_| Error::TimedOut)?.map_err(Error::Local)? {
            let forwards_agent = settings.forward_agent && settings.agent.is_some();
            return Ok(Connection { master, forwards_agent, _hop: hop });
        }
        let failure = master.failure().await.map_err(Error::Local)?;
        let accepted = match &failure.host_key {
            Some(key) => trust.extend(key)?,
            None => false,
        };
        if !accepted {
            keys = next_keys(settings, keys, &failure, address)?;
        }
    }
}

/// Without a key that can be used there is no reason to knock: servers count failed logins.
fn first_keys(settings: &Settings) -> Result<Keys<'_>, Error> {
    match (&settings.identity, &settings.agent) {
        (Some(file), _) => identity::check(file).map(|()| Keys::File(file)),
        (None, Some(_)) => Ok(Keys::Agent),
        (None, None) => Err(Error::NoAgent),
    }
}

/// What is left to try after the server refused `keys`; an error where that was not what failed, or nothing is left.
fn next_keys<'a>(
    settings: &'a Settings,
    keys: Keys<'a>,
    failure: &Failure,
    address: &Address,
) -> Result<Keys<'a>, Error> {
    if !was_denied(&failure.report) {
        return Err(Error::Protocol(last_message(&failure.report, address)));
    }
    let refused = |tried| Error::Authentication { user: settings.user.clone(), tried };
    match (keys, &settings.agent) {
        (Keys::File(_), Some(_)) => Ok(Keys::Agent),
        (Keys::File(_), None) => Err(refused(1)),
        (Keys::Agent, agent) => {
            let listed = agent.as_deref().map(identity::agent_keys).transpose()?.unwrap_or_default();
            Err(refused(listed + usize::from(settings.identity.is_some())))
        }
    }
}

fn was_denied(report: &str) -> bool {
    report.contains(": Permission denied (") || report.contains("Too many authentication failures")
}

/// OpenSSH names the connection that it did not open itself `UNKNOWN port 65535`.
fn last_message(report: &str, address: &Address) -> String {
    let last = report.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.unwrap_or("ssh exited without a message").replace("UNKNOWN port 65535", &address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssh_reports() {
        let check = |report: &str, denied: bool, message: &str| {
            assert_eq!(was_denied(report), denied, "{report}");
            assert_eq!(last_message(report, &Address::new("a", 2222)), message);
        };
        check(
            "core@host: Permission denied (publickey).\r\n",
            true,
            "core@host: Permission denied (publickey).",
        );
        check(
            "Received disconnect from UNKNOWN port 65535:2: Too many authentication failures\r\n\
             Disconnected from UNKNOWN port 65535\r\n",
            true,
            "Disconnected from [a]:2222",
        );
        check(
            "kex_exchange_identification: Connection closed by remote host\r\n\
             Connection closed by UNKNOWN port 65535\r\n\n",
            false,
            "Connection closed by [a]:2222",
        );
        check("", false, "ssh exited without a message");
    }
}
