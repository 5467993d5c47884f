//! `keelson serve-updates`: runs the channel server of the crate `channel-server`.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use channel_server::{ADMIN_TOKEN, OfflineKey, PUBLIC_KEY, Server, Settings, offline_key};
use release_folder::existing_key_path;
use rollout::App;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use update_core::roots::Role;

use crate::context::Context;
use crate::output;
use crate::server_url::ServerUrl;
use crate::update_server::{self, ADDRESS, FOLDER};

/// The id in `os/release.toml`.
const APP_ID: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = ADDRESS)]
    listen: SocketAddr,
    /// Data folder [default: updates in the state folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// URL at which machines reach the server, if it is behind a proxy or TLS
    #[arg(long, value_name = "URL")]
    public_url: Option<ServerUrl>,
    /// Unencrypted key that signs channels, without root and release keys beside it; created by `keelson keys` [default:
    /// ~/.config/keelson/keys/server/channel.key, or a new key in the data folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// ID of the initial application
    #[arg(long, value_name = "UUID", default_value = APP_ID)]
    app_id: String,
}

impl Flags {
    fn is_for_other_hosts(&self) -> bool {
        !self.listen.ip().is_loopback() || self.public_url.as_ref().is_some_and(|url| !url.is_loopback())
    }
}

/// On a developer's machine the server may run beside the offline keys. A server of other hosts may be taken over, and
/// then reads what its account can read.
fn ensure_no_offline_key(keys: &Path) -> anyhow::Result<()> {
    let found = match offline_key(keys, None) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        found => found.with_context(|| format!("cannot list {}", keys.display()))?,
    };
    match found {
        Some(key) => Err(OfflineKeyOnServer(key).into()),
        None => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0} is in the key folder of this account, which therefore cannot run a server for other hosts")]
pub struct OfflineKeyOnServer(OfflineKey);

/// Serves until it is interrupted.
#[tokio::main(flavor = "current_thread")]
pub async fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let data = flags.data.clone().unwrap_or_else(|| context.state_dir.join(FOLDER));
    let app =
        App { id: flags.app_id.clone(), name: "Keelson".to_owned(), product_id: Some("keelson".to_owned()) };
    let keys = super::keys::folder().ok();
    if let Some(keys) = keys.as_deref().filter(|_| flags.is_for_other_hosts()) {
        ensure_no_offline_key(keys)?;
    }
    let created =
        || keys.map(|folder| existing_key_path(&folder, Role::Channel.name())).filter(|key| key.is_file());
    let signer = flags.key.clone().or_else(created);
    let settings = Settings {
        data: data.clone(),
        public_url: flags.public_url.as_ref().map(ServerUrl::to_string),
        key: signer,
        app,
    };
    let opened = Server::open(settings).await;
    let server = Arc::new(opened.with_context(|| format!("cannot serve from {}", data.display()))?);
    let listener = TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("cannot listen on {} (set another address with --listen)", flags.listen))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let address = listener.local_addr()?;
    let url: ServerUrl = format!("http://{address}/").parse()?;
    if let Some(warning) = plain_text_warning(address, flags.public_url.as_ref()) {
        context.progress.note(&warning);
    }
    let (token, key) = (data.join(ADMIN_TOKEN), data.join(PUBLIC_KEY));
    let by = flags.public_url.as_ref().unwrap_or(&url);
    update_server::record_url(&data, by)?;
    let (update, here) = (update_server::update_url(by), update_server::update_url_for_machines(by));
    if context.json {
        output::print_json(
            &json!({ "url": url.to_string(), "update": update.to_string(), "token_file": token, "online_key": key }),
        )?;
    } else {
        output::print(format!("{url}\n"))?;
        eprintln!("Web page:        the URL above, with the token in {}", output::with_home(&token));
        eprintln!("On the machines: SERVER={update} in /etc/coreos/update.conf");
        if here != update {
            eprintln!("                 (keelson up --channel C sets SERVER={here} on its machines)");
        }
        eprintln!("Publish:         keelson publish --channel alpha VERSION --server http://{address}");
    }
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    channel_server::serve(server, listener, stop).await;
    Ok(ExitCode::SUCCESS)
}

/// Warns if the server accepts tokens unencrypted from a network, unless it has a public URL with TLS.
fn plain_text_warning(address: SocketAddr, public_url: Option<&ServerUrl>) -> Option<String> {
    let is_encrypted = public_url.is_some_and(|url| !url.is_readable_on_the_network() && !url.is_loopback());
    (!address.ip().to_canonical().is_loopback() && !is_encrypted).then(|| {
        format!(
            "warning: {address} accepts the admin token unencrypted: whoever reads it on the network can change which \
             version machines get; listen on 127.0.0.1, and put a reverse proxy with TLS in front (--public-url \
             https://HOST)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_beyond_loopback_is_warned_of() {
        for (listen, public_url, warned) in [
            ("127.0.0.1:8041", None, false),
            ("[::1]:8041", None, false),
            ("[::ffff:127.0.0.1]:8041", None, false),
            ("127.0.0.1:8041", Some("http://updates.example.net"), false),
            ("0.0.0.0:8041", None, true),
            ("[::]:8041", None, true),
            ("192.0.2.7:8041", None, true),
            ("0.0.0.0:8041", Some("http://updates.example.net"), true),
            ("0.0.0.0:8041", Some("https://localhost"), true),
            ("0.0.0.0:8041", Some("https://updates.example.net"), false),
        ] {
            let public_url: Option<ServerUrl> = public_url.map(|url| url.parse().unwrap());
            let warning = plain_text_warning(listen.parse().unwrap(), public_url.as_ref());
            assert_eq!(warning.is_some(), warned, "{listen} {public_url:?}");
        }
    }
}
