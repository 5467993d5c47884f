//! The API of a channel server, as verbs use it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
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

/// Where a server listens that `serve-updates` starts without words.
pub const ADDRESS: &str = "127.0.0.1:8041";
/// Below the state folder: what it keeps.
pub const FOLDER: &str = "updates";
/// In that: what it was last reached by.
const REACHED_BY: &str = "url";
/// Where machines ask, behind the server's address.
const UPDATE: &str = "v1/update/";
const CERTIFICATES_VARIABLE: &str = "SSL_CERT_FILE";
const CERTIFICATES_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// For an answer behind the last byte of a file: the server reads all of a release again when it is published.
const ANSWER_TIME: Duration = Duration::from_secs(600);
const ANSWER_BYTES: u64 = 64 << 20;
const URL_BYTES: u64 = 4096;
/// Of one word of a path.
const WORD: AsciiSet = NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

#[derive(Debug, Clone, clap::Args)]
pub struct Reached {
    /// The channel server
    #[arg(long, value_name = "URL", env = "KEELSON_UPDATE_SERVER", default_value = "http://127.0.0.1:8041")]
    server: String,
    /// File with a token [default: that of a server on this machine]
    #[arg(long, value_name = "FILE", env = "KEELSON_UPDATE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The application, by its id or its name
    #[arg(long, value_name = "ID", default_value = "keelson")]
    app: String,
}

/// Where a channel is looked for.
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

    /// Where machines of this host ask it; none where no server has ever run in the folder.
    pub fn for_machines(&self) -> anyhow::Result<Option<String>> {
        let url = match self {
            Self::Url(url) => url.clone(),
            Self::Folder(folder) => {
                let file = folder.join(REACHED_BY);
                match read_limited(&file, URL_BYTES) {
                    Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(error) => {
                        return Err(error).with_context(|| format!("cannot read {}", file.display()));
                    }
                }
            }
        };
        let url = url.trim().parse().with_context(|| format!("the URL of {}", self.name()))?;
        Ok(Some(asked_by_machines(&url).to_string()))
    }
}

/// Notes in the server's folder what it is reached by.
pub fn note_url(data: &Path, url: &ServerUrl) -> anyhow::Result<()> {
    let file = data.join(REACHED_BY);
    std::fs::write(&file, format!("{url}\n")).with_context(|| format!("cannot write {}", file.display()))
}

/// Where to ask a server for updates that is reached by `url`.
pub fn asked(url: &ServerUrl) -> ServerUrl {
    url.below(UPDATE)
}

/// The same from machines of `keelson up`: this host's loopback is not theirs.
pub fn asked_by_machines(url: &ServerUrl) -> ServerUrl {
    let asked = asked(url);
    if url.is_loopback() { asked.on(HOST_NAME) } else { asked }
}

/// Reads what `--update-server` names.
pub fn source(text: &str) -> Result<Source, String> {
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Source::Url(text.trim_end_matches('/').to_owned()));
    }
    match std::path::absolute(text) {
        Ok(folder) if folder.is_dir() => Ok(Source::Folder(folder)),
        _ => Err("it is no http:// or https:// URL, and no folder".to_owned()),
    }
}

/// Why the server did not do it, in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    pub status: u16,
    why: String,
}

pub struct UpdateServer {
    agent: Agent,
    url: String,
    authorization: String,
    app: String,
    progress: Progress,
}

impl UpdateServer {
    pub fn open(context: &Context, reached: &Reached) -> anyhow::Result<Self> {
        let own = || context.state_dir.join(FOLDER).join(channel_server::ADMIN_TOKEN);
        let path = reached.token_file.clone().unwrap_or_else(own);
        let token = std::fs::read_to_string(&path).with_context(|| {
            format!("cannot read the token {} (--token-file names another)", path.display())
        })?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIME))
            .timeout_recv_response(Some(ANSWER_TIME))
            .tls_config(encryption(&reached.server)?)
            .build()
            .new_agent();
        let url = reached.server.trim_end_matches('/').to_owned();
        let authorization = format!("Bearer {}", token.trim());
        Ok(Self { agent, url, authorization, app: reached.app.clone(), progress: context.progress })
    }

    /// Words of a path below the application.
    fn path(&self, words: &[&str]) -> String {
        let all = ["apps", &self.app].into_iter().chain(words.iter().copied());
        let all: Vec<String> = all.map(|word| utf8_percent_encode(word, &WORD).to_string()).collect();
        format!("{}/api/{}", self.url, all.join("/"))
    }

    pub fn get(&self, words: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.agent.get(self.path(words)).header("Authorization", &self.authorization);
        self.answer(|| request.query_pairs(query.iter().copied()).call())
    }

    /// What happened, the newest first.
    pub fn activity(&self) -> anyhow::Result<Value> {
        let request = self.agent.get(format!("{}/api/activity", self.url));
        self.answer(|| request.header("Authorization", &self.authorization).call())
    }

    pub fn put(&self, words: &[&str], value: &Value) -> anyhow::Result<Value> {
        let request = self.agent.put(self.path(words)).header("Authorization", &self.authorization);
        self.answer(|| request.send(value.to_string()))
    }

    pub fn post(&self, words: &[&str], value: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(self.path(words)).header("Authorization", &self.authorization);
        self.answer(|| request.send(value.to_string()))
    }

    pub fn delete(&self, words: &[&str]) -> anyhow::Result<Value> {
        let request = self.agent.delete(self.path(words)).header("Authorization", &self.authorization);
        self.answer(|| request.call())
    }

    /// One file of a release, streamed.
    pub fn send_file(&self, words: &[&str], file: &Path) -> anyhow::Result<Value> {
        let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let request = self.agent.put(self.path(words)).header("Authorization", &self.authorization);
        self.read(request.send(opened))
    }

    /// Asks, and says so where the answer takes long.
    fn answer(
        &self,
        ask: impl FnOnce() -> Result<Response<ureq::Body>, ureq::Error>,
    ) -> anyhow::Result<Value> {
        let step = self.progress.step("server");
        step.set(format!("waiting for {}, for {} min at most", self.url, ANSWER_TIME.as_secs() / 60));
        self.read(ask())
    }

    fn read(&self, answer: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Value> {
        let mut answer = answer.with_context(|| format!("no channel server answers at {}", self.url))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(ANSWER_BYTES).read_to_string();
        let text = text.with_context(|| format!("the answer of {} broke off", self.url))?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status == 200 {
            return value.ok_or_else(|| anyhow!("what answers at {} is no channel server", self.url));
        }
        let why = value.and_then(|value| Some(value.get("error")?.as_str()?.to_owned()));
        match why {
            Some(why) => Err(Refused { status, why }.into()),
            None => bail!("{} answered {status}, which no channel server does", self.url),
        }
    }
}

/// The authorities that this machine trusts.
fn encryption(url: &str) -> anyhow::Result<TlsConfig> {
    let path = std::env::var(CERTIFICATES_VARIABLE).unwrap_or_else(|_| CERTIFICATES_PATH.to_owned());
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(_) if !url.starts_with("https:") => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read the authorities in {path}")),
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
    fn machines_ask_this_host_by_its_name_there() {
        for (url, here, machines) in [
            ("http://127.0.0.1:8041/", "http://127.0.0.1:8041", "http://host.keelson:8041"),
            ("http://localhost", "http://localhost", "http://host.keelson"),
            ("http://0.0.0.0:1", "http://0.0.0.0:1", "http://host.keelson:1"),
            ("http://[::1]:1", "http://[::1]:1", "http://host.keelson:1"),
            ("https://a.example/b/", "https://a.example/b", "https://a.example/b"),
            ("http://192.0.2.7:80", "http://192.0.2.7", "http://192.0.2.7"),
        ] {
            let url: ServerUrl = url.parse().unwrap();
            assert_eq!(asked(&url).to_string(), format!("{here}/v1/update/"));
            assert_eq!(asked_by_machines(&url).to_string(), format!("{machines}/v1/update/"));
        }
    }

    #[test]
    fn of_a_folder_it_is_what_its_server_was_reached_by() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Folder(folder.path().to_path_buf());
        assert_eq!(source.for_machines().unwrap(), None, "no server has run there");
        for (url, machines) in [
            ("http://127.0.0.1:4711/", "http://host.keelson:4711/v1/update/"),
            ("https://a.example/", "https://a.example/v1/update/"),
        ] {
            note_url(folder.path(), &url.parse().unwrap()).unwrap();
            assert_eq!(source.for_machines().unwrap().as_deref(), Some(machines));
            assert_eq!(Source::Url(url.to_owned()).for_machines().unwrap().as_deref(), Some(machines));
        }
        std::fs::write(folder.path().join(REACHED_BY), "").unwrap();
        let error = format!("{:#}", source.for_machines().unwrap_err());
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    }
}
