//! Opens connections, directly and through others, and streams inside of them.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use russh::Preferred;
use russh::client::{self, Handle, Msg};
use russh::keys::Algorithm;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::error::Error;
use crate::handler::{Caller, Progress};
use crate::identity;
use crate::known_hosts::KnownHosts;
use crate::settings::{Address, Settings};

/// Bytes to and from the other side.
pub type Stream = russh::ChannelStream<Msg>;

/// An authenticated connection. It ends when it is dropped.
pub struct Connection {
    pub(crate) handle: Handle<Caller>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) agent: Option<PathBuf>,
}

/// A silent other side is asked for a sign of life after this time, and given up after three.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Connection {
    pub async fn open(settings: &Settings, address: &Address) -> Result<Connection, Error> {
        needs_keys(settings)?;
        let failed = |cause: std::io::Error| {
            let text = cause.to_string();
            let cause =
                format!("connect: {}", text.split(" (os error").next().unwrap_or_default().to_lowercase());
            Error::Dial { address: format!("{}:{}", address.host, address.port), cause }
        };
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let stream = tokio::time::timeout(settings.timeout, connecting).await.map_err(|_| Error::TimedOut)?;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Self::over(settings, address, stream).await
    }

    /// A second hop inside this connection. The other side's key is looked up under its own address.
    pub async fn through(&self, settings: &Settings, address: &Address) -> Result<Connection, Error> {
        needs_keys(settings)?;
        let stream = tokio::time::timeout(settings.timeout, self.tcp(&address.host, address.port));
        let stream = stream.await.map_err(|_| Error::TimedOut)??;
        Self::over(settings, address, stream).await
    }

    /// A TCP connection that the other side opens.
    pub async fn tcp(&self, host: &str, port: u16) -> Result<Stream, Error> {
        let channel = self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await?;
        Ok(channel.into_stream())
    }

    /// A command's standard input and output.
    pub async fn command(&self, command: &str, forward_agent: bool) -> Result<Stream, Error> {
        let channel = self.handle.channel_open_session().await?;
        if forward_agent && self.agent.is_some() {
            self.progress.forwarding.store(true, Ordering::Relaxed);
            channel.agent_forward(false).await?;
        }
        channel.exec(false, command).await?;
        Ok(channel.into_stream())
    }

    async fn over<S>(settings: &Settings, address: &Address, stream: S) -> Result<Connection, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let known = settings.known_hosts.as_deref().map(KnownHosts::read).transpose()?;
        let progress = Arc::new(Progress::default());
        let config = Arc::new(client::Config {
            preferred: preferred(known.as_ref(), address),
            keepalive_interval: Some(KEEP_ALIVE),
            nodelay: true,
            ..client::Config::default()
        });
        let caller = Caller {
            address: address.clone(),
            known,
            agent: settings.agent.clone(),
            progress: Arc::clone(&progress),
        };
        let opening = async {
            let mut handle = client::connect_stream(config, stream, caller).await?;
            identity::prove(&mut handle, settings).await?;
            Ok(handle)
        };
        let handle = in_time(settings.timeout, &progress, opening).await?;
        Ok(Connection { handle, progress, agent: settings.agent.clone() })
    }
}

/// Without any key there is no reason to knock.
fn needs_keys(settings: &Settings) -> Result<(), Error> {
    match (&settings.agent, &settings.identity) {
        (None, None) => Err(Error::NoAgent),
        _ => Ok(()),
    }
}

/// The kinds of key that are known of the host come first, so that it shows one that can be compared.
fn preferred(known: Option<&KnownHosts>, address: &Address) -> Preferred {
    let standard = Preferred::default();
    let Some(known) = known else { return standard };
    let kinds: Vec<Algorithm> = known.keys(address).map(|key| key.algorithm()).collect();
    let is_known = |algorithm: &Algorithm| {
        kinds.iter().any(|kind| match (kind, algorithm) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (one, other) => one == other,
        })
    };
    let (mut first, rest): (Vec<_>, Vec<_>) = standard.key.iter().cloned().partition(is_known);
    first.extend(rest);
    Preferred { key: first.into(), ..standard }
}

/// Gives `work` the time again each time that somebody was asked something meanwhile.
async fn in_time<T>(
    limit: Duration,
    progress: &Progress,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let too_late = async {
        loop {
            tokio::time::sleep(limit).await;
            if !progress.asked.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = too_late => Err(Error::TimedOut),
    }
}
