//! Opens connections, directly and through others, and streams inside them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use tokio::net::TcpStream;

use crate::control::{Control, Session, is_disconnect};
use crate::error::{Error, lower_case};
use crate::identity;
use crate::master::{Failure, KeySource, Master};
use crate::relay::{Transport, relay};
use crate::settings::{Address, Settings};
use crate::stream::Stream;
use crate::trust::Trust;

/// An authenticated connection, closed on drop.
pub struct Connection {
    pub(crate) master: Master,
    /// The server may use the agent.
    pub(crate) forwards_agent: bool,
    /// For a second hop: the stream through the first.
    _hop: Option<Control>,
}

/// How to reach a host.
#[derive(Clone, Copy)]
enum Route<'a> {
    Direct,
    Through(&'a Connection),
}

impl Connection {
    /// Connects and logs in. May ask the user about an unknown host key.
    pub async fn open(settings: &Settings, address: &Address) -> Result<Connection, Error> {
        login(settings, address, Route::Direct).await
    }

    /// Opens a second hop through this connection. Its host key is looked up by its own address.
    pub async fn open_through(&self, settings: &Settings, address: &Address) -> Result<Connection, Error> {
        login(settings, address, Route::Through(self)).await
    }

    /// Opens a TCP connection from the server.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<Stream, Error> {
        let (transport, control) = self.forward(host, port).await?;
        Stream::new(transport.input, transport.output, control).map_err(Error::Local)
    }

    /// Runs a command; the stream is its standard input and output.
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
        let mut control = self.master.control().await.map_err(control_error)?;
        let session = Session { command, terminal, agent: self.forwards_agent };
        match control.session(&session, files).await.map_err(control_error)? {
            true => Ok(control),
            false => Err(self.rejection("open a session").await),
        }
    }

    async fn forward(&self, host: &str, port: u16) -> Result<(Transport, Control), Error> {
        let (input, sent) = io::pipe().map_err(Error::Local)?;
        let (received, output) = io::pipe().map_err(Error::Local)?;
        let mut control = self.master.control().await.map_err(control_error)?;
        match control.forward(host, port, [input.into(), output.into()]).await.map_err(control_error)? {
            true => Ok((Transport { input: received, output: sent }, control)),
            false => Err(self.rejection(&format!("connect to {}", Address::new(host, port))).await),
        }
    }

    /// The error with the reason from the log of `ssh`; the reply has none.
    async fn rejection(&self, request: &str) -> Error {
        match self.master.refusal().await {
            Some(reason) => Error::Refused(format!("{request}: {reason}")),
            None => Error::Refused(request.to_owned()),
        }
    }
}

/// An error of the control socket.
pub(crate) fn control_error(error: io::Error) -> Error {
    if is_disconnect(&error) { Error::Cut } else { Error::Local(error) }
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

/// Starts `ssh` until it is logged in. Retries with a host key that the user accepts, and with the agent's keys if the
/// file's key is denied.
async fn login(settings: &Settings, address: &Address, route: Route<'_>) -> Result<Connection, Error> {
    let mut key_source = initial_key_source(settings)?;
    let mut trust = None;
    loop {
        let dialed = tokio::time::timeout(settings.timeout, route.dial(address));
        let (transport, hop) = dialed.await.map_err(|_| Error::TimedOut)??;
        let trust = match &mut trust {
            Some(trust) => trust,
            empty => empty.insert(Trust::read(settings, address)?),
        };
        let mut master = Master::start(settings, key_source, trust.keys(), transport)?;
        let done = tokio::time::timeout(settings.timeout, master.wait_for_login());
        if done.await.map_err(|_| Error::TimedOut)?.map_err(Error::Local)? {
            let forwards_agent = settings.forward_agent && settings.agent.is_some();
            return Ok(Connection { master, forwards_agent, _hop: hop });
        }
        let failure = master.failure().await.map_err(Error::Local)?;
        let trusted_now = match &failure.host_key {
            Some(key) => trust.confirm(key)?,
            None => false,
        };
        if !trusted_now {
            key_source = next_key_source(settings, key_source, &failure, address)?;
        }
    }
}

/// Fails before connecting if there is no usable key: servers count failed logins.
fn initial_key_source(settings: &Settings) -> Result<KeySource<'_>, Error> {
    match (&settings.identity, &settings.agent) {
        (Some(file), _) => identity::check(file).map(|()| KeySource::File(file)),
        (None, Some(_)) => Ok(KeySource::Agent),
        (None, None) => Err(Error::NoAgent),
    }
}

/// The keys to try after `key_source` was denied. Fails if the login failed otherwise, or no keys are left.
fn next_key_source<'a>(
    settings: &'a Settings,
    key_source: KeySource<'a>,
    failure: &Failure,
    address: &Address,
) -> Result<KeySource<'a>, Error> {
    if !is_authentication_denied(&failure.messages) {
        return Err(Error::Protocol(last_message(&failure.messages, address)));
    }
    let rejection = |tried| Error::Authentication { user: settings.user.clone(), tried };
    match (key_source, &settings.agent) {
        (KeySource::File(_), Some(_)) => Ok(KeySource::Agent),
        (KeySource::File(_), None) => Err(rejection(1)),
        (KeySource::Agent, agent) => {
            let agent_keys = agent.as_deref().map(identity::agent_keys).transpose()?.unwrap_or_default();
            Err(rejection(agent_keys + usize::from(settings.identity.is_some())))
        }
    }
}

fn is_authentication_denied(messages: &str) -> bool {
    messages.contains(": Permission denied (") || messages.contains("Too many authentication failures")
}

/// OpenSSH names the connection that it did not open itself `UNKNOWN port 65535`.
fn last_message(messages: &str, address: &Address) -> String {
    let last = messages.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.unwrap_or("ssh exited without a message").replace("UNKNOWN port 65535", &address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_openssh() {
        let check = |messages: &str, denied: bool, message: &str| {
            assert_eq!(is_authentication_denied(messages), denied, "{messages}");
            assert_eq!(last_message(messages, &Address::new("a", 2222)), message);
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
