//! Client of the channel server's API.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use channel_server::{MIN_TOKEN, REGISTRATION_TOKEN};
use machines::cluster::HOST_NAME;
use machines::store::read_limited;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use progress::Progress;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::context::Context;
use crate::server_url::ServerUrl;

/// Default listen address of `serve-updates`.
pub const ADDRESS: &str = "127.0.0.1:8041";
/// Data folder of a local server in the state folder.
pub const FOLDER: &str = "updates";
/// File in the data folder with the server's last URL.
const URL_FILE: &str = "url";
/// Path of the Omaha endpoint.
const UPDATE_PATH: &str = "v1/update/";
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
const CERTIFICATES_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of a response after the last byte of a file: the server rereads a whole release when it is published.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(600);
const RESPONSE_MAX: u64 = 64 << 20;
const URL_MAX: u64 = 4096;
const TOKEN_MAX: u64 = 4096;
/// Characters that are escaped in a path segment.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

#[derive(Debug, Clone, clap::Args)]
pub struct ServerFlags {
    /// URL of the channel server
    #[arg(long, value_name = "URL", env = "KEELSON_UPDATE_SERVER", default_value = "http://127.0.0.1:8041")]
    server: String,
    /// File with the admin token [default: that of the local server]
    #[arg(long, value_name = "FILE", env = "KEELSON_UPDATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// ID or name of the application
    #[arg(long, value_name = "ID", default_value = "keelson")]
    app: String,
}

/// Where to look for a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Url(String),
    /// The data folder of a server.
    Folder(PathBuf),
}

impl Source {
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url.clone(),
            Self::Folder(folder) => crate::output::with_home(folder),
        }
    }

    /// The update URL for machines of this host; `None` if no server has run in the folder.
    pub fn update_url(&self) -> anyhow::Result<Option<String>> {
        let url = match self {
            Self::Url(url) => url.clone(),
            Self::Folder(folder) => {
                let file = folder.join(URL_FILE);
                match read_limited(&file, URL_MAX) {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(error) => {
                        return Err(error).with_context(|| format!("cannot read {}", file.display()));
                    }
                }
            }
        };
        let url = url.trim().parse().with_context(|| format!("cannot read the URL of {}", self.name()))?;
        Ok(Some(update_url_for_machines(&url).to_string()))
    }
}

/// The registration token for machines that get their updates from `source`: that of `file`, or of the server whose
/// data folder is `source` or has recorded it as its URL. `local` is the folder of the local server.
pub fn registration_token(
    source: &Source,
    file: Option<&Path>,
    local: &Path,
) -> anyhow::Result<Option<String>> {
    let of_server = || match source {
        Source::Folder(folder) => Some(folder.join(REGISTRATION_TOKEN)),
        Source::Url(url) => {
            let recorded = read_limited(&local.join(URL_FILE), URL_MAX).ok()?;
            let recorded = String::from_utf8_lossy(&recorded);
            (recorded.trim().trim_end_matches('/') == url).then(|| local.join(REGISTRATION_TOKEN))
        }
    };
    let Some(path) = file.map(Path::to_owned).or_else(of_server) else { return Ok(None) };
    match read_limited(&path, TOKEN_MAX) {
        Ok(bytes) => {
            let token = String::from_utf8_lossy(&bytes).trim().to_owned();
            if token.len() < MIN_TOKEN {
                bail!(
                    "{} is no registration token: it has fewer than {MIN_TOKEN} characters",
                    path.display()
                );
            }
            Ok(Some(token))
        }
        // A server of an earlier version.
        Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

pub fn record_url(data: &Path, url: &ServerUrl) -> anyhow::Result<()> {
    let file = data.join(URL_FILE);
    std::fs::write(&file, format!("{url}\n")).with_context(|| format!("cannot write {}", file.display()))
}

/// The Omaha endpoint of the server at `url`.
pub fn update_url(url: &ServerUrl) -> ServerUrl {
    url.join(UPDATE_PATH)
}

/// The Omaha endpoint for machines of `keelson up`, for which this host's loopback has another name.
pub fn update_url_for_machines(url: &ServerUrl) -> ServerUrl {
    let update_url = update_url(url);
    if url.is_loopback() { update_url.with_host(HOST_NAME) } else { update_url }
}

pub fn parse_source(text: &str) -> Result<Source, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Source::Url(text.trim_end_matches('/').to_owned()));
    }
    match std::path::absolute(text) {
        Ok(folder) if folder.is_dir() => Ok(Source::Folder(folder)),
        _ => Err("neither an http:// or https:// URL nor an existing folder".to_owned()),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    pub status: u16,
    message: String,
}

pub struct UpdateServer {
    agent: Agent,
    url: String,
    authorization: String,
    app: String,
    progress: Progress,
}

impl UpdateServer {
    pub fn open(context: &Context, flags: &ServerFlags) -> anyhow::Result<Self> {
        let own = || context.state_dir.join(FOLDER).join(channel_server::ADMIN_TOKEN);
        let path = flags.token_file.clone().unwrap_or_else(own);
        let token = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read the token {} (set another with --token-file)", path.display())
        })?;
        if let Some(warning) = plain_text_warning(&flags.server) {
            context.progress.note(&warning);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .tls_config(tls_config(&flags.server)?)
            .build()
            .new_agent();
        let url = flags.server.trim_end_matches('/').to_owned();
        let authorization = format!("Bearer {}", token.trim());
        Ok(Self { agent, url, authorization, app: flags.app.clone(), progress: context.progress })
    }

    /// URL of a path below the application.
    fn path(&self, segments: &[&str]) -> String {
        let all = ["apps", &self.app].into_iter().chain(segments.iter().copied());
        let all: Vec<String> =
            all.map(|segment| utf8_percent_encode(segment, &SEGMENT).to_string()).collect();
        format!("{}/api/{}", self.url, all.join("/"))
    }

    pub fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.agent.get(self.path(segments)).header("Authorization", &self.authorization);
        self.call(|| request.query_pairs(query.iter().copied()).call())
    }

    /// A file of metadata, `None` if the server has none.
    pub fn metadata(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let app = utf8_percent_encode(&self.app, &SEGMENT);
        let url = format!("{}/files/{app}/metadata/{name}", self.url);
        let response = self.agent.get(&url).call();
        let mut response =
            response.with_context(|| format!("cannot reach the channel server at {}", self.url))?;
        match response.status().as_u16() {
            200 => {
                let body = response.body_mut().with_config().limit(RESPONSE_MAX).read_to_vec();
                body.map(Some).with_context(|| format!("cannot read {url}"))
            }
            404 => Ok(None),
            status => bail!("unexpected status {status} from {url}: is it a channel server?"),
        }
    }

    /// The activity log, newest first.
    pub fn activity(&self) -> anyhow::Result<Value> {
        let request = self.agent.get(format!("{}/api/activity", self.url));
        self.call(|| request.header("Authorization", &self.authorization).call())
    }

    pub fn put(&self, segments: &[&str], value: &Value) -> anyhow::Result<Value> {
        let request = self.agent.put(self.path(segments)).header("Authorization", &self.authorization);
        self.call(|| request.send(value.to_string()))
    }

    pub fn post(&self, segments: &[&str], value: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(self.path(segments)).header("Authorization", &self.authorization);
        self.call(|| request.send(value.to_string()))
    }

    pub fn delete(&self, segments: &[&str]) -> anyhow::Result<Value> {
        let request = self.agent.delete(self.path(segments)).header("Authorization", &self.authorization);
        self.call(|| request.call())
    }

    pub fn send_file(&self, segments: &[&str], file: &Path) -> anyhow::Result<Value> {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let request = self.agent.put(self.path(segments)).header("Authorization", &self.authorization);
        self.read_response(request.send(opened))
    }

    /// Sends a request and shows progress while it waits for the response.
    fn call(
        &self,
        send: impl FnOnce() -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let step = self.progress.step("server");
        step.set(format!("waiting for {} (at most {} min)", self.url, RESPONSE_TIMEOUT.as_secs() / 60));
        self.read_response(send())
    }

    fn read_response(&self, response: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut response =
            response.with_context(|| format!("cannot reach the channel server at {}", self.url))?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(RESPONSE_MAX).read_to_string();
        let text = text.with_context(|| format!("cannot read the response of {}", self.url))?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status == 200 {
            return value
                .ok_or_else(|| anyhow!("unexpected response from {}: is it a channel server?", self.url));
        }
        let message = value.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
        match message {
            Some(message) => Err(ApiError { status, message }.into()),
            None => bail!("unexpected status {status} from {}: is it a channel server?", self.url),
        }
    }
}

/// Warns if the token would cross a network unencrypted.
fn plain_text_warning(url: &str) -> Option<String> {
    let readable = match url.parse::<ServerUrl>() {
        Ok(url) => url.is_readable_on_the_network(),
        // In doubt, for example with a user name in the URL.
        Err(_) => !url.to_ascii_lowercase().starts_with("https:"),
    };
    readable.then(|| {
        format!(
            "warning: the admin token is sent to {url} unencrypted: whoever reads it on the network can change which \
             version machines get; use an https:// URL, or a tunnel (ssh -L 8041:127.0.0.1:8041 HOST)"
        )
    })
}

/// TLS with the certificate authorities that this machine trusts.
pub fn tls_config(url: &str) -> anyhow::Result<TlsConfig> {
    let path = std::env::var(CERTIFICATES_VARIABLE).unwrap_or_else(|_| CERTIFICATES_PATH.to_owned());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(_) if !url.starts_with("https:") => Vec::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read the CA certificates in {path}"));
        }
    };
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(certificates.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_urls_use_the_host_name_on_machines() {
        for (url, here, machines) in [
            ("http://127.0.0.1:8041/", "http://127.0.0.1:8041", "http://host.keelson:8041"),
            ("http://localhost", "http://localhost", "http://host.keelson"),
            ("http://0.0.0.0:1", "http://0.0.0.0:1", "http://host.keelson:1"),
            ("http://[::1]:1", "http://[::1]:1", "http://host.keelson:1"),
            ("https://a.example/b/", "https://a.example/b", "https://a.example/b"),
            ("http://192.0.2.7:80", "http://192.0.2.7", "http://192.0.2.7"),
        ] {
            let url: ServerUrl = url.parse().unwrap();
            assert_eq!(update_url(&url).to_string(), format!("{here}/v1/update/"));
            assert_eq!(update_url_for_machines(&url).to_string(), format!("{machines}/v1/update/"));
        }
    }

    #[test]
    fn tokens_are_not_sent_in_plain_text_without_a_warning() {
        for (url, warned) in [
            ("http://192.0.2.7:8041", true),
            ("HTTP://updates.example.net/", true),
            ("http://[2001:db8::1]:8041", true),
            ("http://127.0.0.1.example.net", true),
            ("http://localhost.example.net", true),
            ("http://u:p@updates.example.net", true),
            ("https://updates.example.net", false),
            ("HTTPS://u:p@updates.example.net", false),
            ("http://127.0.0.1:8041", false),
            ("http://127.9.9.9", false),
            ("http://[::1]:8041", false),
            ("http://localhost:8041/", false),
        ] {
            let warning = plain_text_warning(url);
            assert_eq!(warning.is_some(), warned, "{url}");
            assert!(warning.is_none_or(|text| text.contains(url) && text.contains("https://")), "{url}");
        }
    }

    #[test]
    fn a_folder_source_uses_the_recorded_url() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Folder(folder.path().to_path_buf());
        assert_eq!(source.update_url().unwrap(), None, "no server has run there");
        for (url, machines) in [
            ("http://127.0.0.1:4711/", "http://host.keelson:4711/v1/update/"),
            ("https://a.example/", "https://a.example/v1/update/"),
        ] {
            record_url(folder.path(), &url.parse().unwrap()).unwrap();
            assert_eq!(source.update_url().unwrap().as_deref(), Some(machines));
            assert_eq!(Source::Url(url.to_owned()).update_url().unwrap().as_deref(), Some(machines));
        }
        std::fs::write(folder.path().join(URL_FILE), "").unwrap();
        let error = format!("{:#}", source.update_url().unwrap_err());
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    }
}
