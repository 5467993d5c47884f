//! What the other side may ask of us: to trust its key, and to use our agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::client::{Handler, Msg, Session};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure};
use tokio::net::UnixStream;

use crate::error::Error;
use crate::fingerprint::{kind, md5, sha256};
use crate::known_hosts::{KnownHosts, Verdict};
use crate::prompt;
use crate::settings::Address;

/// What else is known of a handshake while it is under way.
#[derive(Debug, Default)]
pub struct Progress {
    /// Somebody was asked: time went by that was nobody's fault.
    pub asked: AtomicBool,
    /// Channels may use our agent.
    pub forwarding: AtomicBool,
}

pub struct Caller {
    pub address: Address,
    /// `None`: any key is taken.
    pub known: Option<KnownHosts>,
    pub agent: Option<PathBuf>,
    pub progress: Arc<Progress>,
}

impl Caller {
    fn trusts(&self, key: &PublicKey) -> Result<bool, Error> {
        let Some(known) = &self.known else { return Ok(true) };
        match known.verdict(&self.address, key) {
            Verdict::Known => Ok(true),
            Verdict::Unknown => self.ask(known, key),
            Verdict::Changed { line } => {
                eprintln!("{}", changed(&self.address, key, line));
                Err(Error::HostKeyChanged)
            }
        }
    }

    fn ask(&self, known: &KnownHosts, key: &PublicKey) -> Result<bool, Error> {
        let (address, kind) = (&self.address, kind(key));
        let question = format!(
            "The authenticity of host '{address}' can't be established.\n\
             {kind} key fingerprint is {}(MD5).\n{kind} key fingerprint is {}.\n\
             Are you sure you want to continue connecting (yes/no)? ",
            md5(key),
            sha256(key)
        );
        let answered = prompt::yes(&question);
        self.progress.asked.store(true, Ordering::Relaxed);
        if !answered.map_err(Error::Terminal)? {
            return Err(Error::HostKeyRefused);
        }
        known.add(address, key)?;
        eprintln!("Warning: Permanently added '{address}' ({kind}) to the list of known hosts.");
        Ok(true)
    }
}

fn changed(address: &Address, key: &PublicKey, line: usize) -> String {
    let bar = "@".repeat(59);
    format!(
        "{bar}\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n{bar}\n\
         The key of {address} is not the one that is known: somebody else may answer in its place.\n\
         It showed the {} key {}.\n\
         If the machine was set up anew, remove line {line} from the file of known hosts.",
        kind(key),
        sha256(key)
    )
}

impl Handler for Caller {
    type Error = Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        match key {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.trusts(key),
            // None was asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        let agent = self.agent.clone().filter(|_| self.progress.forwarding.load(Ordering::Relaxed));
        let opened = match agent {
            Some(path) => UnixStream::connect(path).await.ok(),
            None => None,
        };
        let Some(mut agent) = opened else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        reply.accept().await;
        tokio::spawn(async move {
            // It ends when either side does; nobody is there to be told how.
            let ended = tokio::io::copy_bidirectional(&mut channel.into_stream(), &mut agent).await;
            drop(ended);
        });
        Ok(())
    }

    /// Nothing was asked to be forwarded to us.
    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: russh::client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        reply: russh::client::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
        Ok(())
    }
}
