//! `etcd-discovery`: the discovery service as a program.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use etcd_discovery::{Settings, Store, Tokens, Upstream, serve};
use etcd_http::tls::{ServerTls, TlsFiles};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const EXAMPLES: &str = "Examples:
  etcd-discovery --data /var/lib/etcd-discovery/tokens
      Store tokens in a file and listen on 127.0.0.1:8087.
  etcd-discovery --listen 0.0.0.0:80 --public-url https://discovery.example --data tokens
      Listen on all addresses; token URLs start with the public URL.
  etcd-discovery --listen 0.0.0.0:443 --cert-file cert.pem --key-file key.pem --data tokens
      Serve https. Replaced certificates are reloaded.
  etcd-discovery --etcd https://127.0.0.1:2379 --etcd-ca-file ca.pem
      Store tokens in etcd, below /v2/keys/_etcd/registry.
  curl 'http://127.0.0.1:8087/new?size=3'
      Create a token for a cluster of three members. Start them with: etcd -discovery URL";

/// Discovery service for bootstrapping etcd clusters.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Flags {
    /// Address to listen on.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8087", env = "ETCD_DISCOVERY_LISTEN")]
    listen: SocketAddr,
    /// Base URL of tokens [default: http:// and the Host header of the request].
    #[arg(long, value_name = "URL", env = "ETCD_DISCOVERY_PUBLIC_URL")]
    public_url: Option<String>,
    /// File to store tokens in; without --data and --etcd, tokens are lost on restart.
    #[arg(long, value_name = "FILE", env = "ETCD_DISCOVERY_DATA")]
    data: Option<PathBuf>,
    /// Certificate to serve https with (PEM); reloaded when it changes.
    #[arg(long, value_name = "FILE", requires = "key_file", env = "ETCD_DISCOVERY_CERT_FILE")]
    cert_file: Option<PathBuf>,
    /// Private key of --cert-file (PEM).
    #[arg(long, value_name = "FILE", requires = "cert_file", env = "ETCD_DISCOVERY_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Store tokens in the etcd at this URL.
    #[arg(long, value_name = "URL", conflicts_with = "data", env = "ETCD_DISCOVERY_ETCD")]
    etcd: Option<String>,
    /// CA bundle to verify an https --etcd with (PEM) [default: CA bundle of the system].
    #[arg(long, value_name = "FILE", requires = "etcd", env = "ETCD_DISCOVERY_ETCD_CA_FILE")]
    etcd_ca_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> anyhow::Result<()> {
    let store = match (&flags.etcd, &flags.data) {
        (Some(url), _) => Store::Etcd(Upstream::new(url, flags.etcd_ca_file.clone())?),
        (None, Some(path)) => Store::local(Tokens::open(path)?),
        (None, None) => {
            tracing::warn!("neither --data nor --etcd is given: tokens are lost at a restart");
            Store::local(Tokens::in_memory())
        }
    };
    let tls = match (flags.cert_file, flags.key_file) {
        (Some(certificate), Some(key)) => {
            let files = TlsFiles { certificate, key, ..TlsFiles::default() };
            Some(Arc::new(ServerTls::load(files).context("TLS")?))
        }
        _ => None,
    };
    let listener = TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("cannot listen on {}", flags.listen))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tracing::info!(address = %listener.local_addr()?, "serving");
    serve(listener, store, Settings { public_url: flags.public_url, tls }, stop).await.context("metrics")
}
