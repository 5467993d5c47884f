//! A server's command line with placeholders, so that any server is one line of arguments.
//!
//! Placeholders: `{name} {data} {client} {peer} {cluster}`; addresses are `host:port`, `{cluster}` is
//! `name=http://peer,...` of all members. With TLS, peers use https, and `{secure}` is another address for clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::certificates::Certificates;

/// Debian's path, and the variable that overrides it. Our program has the same name, so `PATH` is not searched.
const REFERENCE: (&str, &str) = ("/usr/bin/etcd", "KEELSON_REFERENCE_ETCD");
const MEMBER: &str = "--name {name} --data-dir {data} --listen-client-urls http://{client} \
    --advertise-client-urls http://{client} --listen-peer-urls http://{peer} \
    --initial-advertise-peer-urls http://{peer} --initial-cluster {cluster}";

#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// Of members that use TLS.
    pub certificates: Option<Arc<Certificates>>,
}

/// Values of the placeholders.
pub struct Placeholders<'a> {
    pub name: &'a str,
    pub data: &'a Path,
    pub client: &'a str,
    pub peer: &'a str,
    pub cluster: &'a str,
    /// Where clients connect with TLS; empty without.
    pub secure: &'a str,
}

impl Program {
    /// `line` is split at white space.
    pub fn new(path: impl Into<PathBuf>, line: &str) -> Self {
        let arguments = line.split_whitespace().map(str::to_owned).collect();
        Self { path: path.into(), arguments, certificates: None }
    }

    /// Debian's `etcd-server` with the v2 API enabled.
    pub fn reference() -> Self {
        let path = std::env::var_os(REFERENCE.1).unwrap_or_else(|| REFERENCE.0.into());
        Self::new(path, &format!("{MEMBER} --enable-v2 --logger zap --log-level error"))
    }

    /// The same, at another path.
    pub fn reference_at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ..Self::reference() }
    }

    /// This project's `etcd`, or another program with etcd 2's flags.
    pub fn etcd(path: impl Into<PathBuf>) -> Self {
        Self::new(path, MEMBER)
    }

    /// A single-process server that takes only its listen address.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::new(path, "--listen {client}")
    }

    /// Appends arguments.
    pub fn with(mut self, more: &str) -> Self {
        self.arguments.extend(more.split_whitespace().map(str::to_owned));
        self
    }

    /// Makes peers use TLS, and clients at another address; without TLS, the members are still observed.
    pub fn with_tls(mut self, certificates: &Arc<Certificates>) -> Self {
        for argument in &mut self.arguments {
            *argument = argument.replace("http://{peer}", "https://{peer}");
        }
        if let Some(at) = self.arguments.iter().position(|argument| argument == "--listen-client-urls")
            && let Some(urls) = self.arguments.get_mut(at + 1)
        {
            urls.push_str(",https://{secure}");
        }
        self.arguments.extend(certificates.flags());
        self.certificates = Some(Arc::clone(certificates));
        self
    }

    pub fn exists(&self) -> bool {
        self.path.is_file()
    }

    pub(super) fn fill(&self, placeholders: &Placeholders<'_>) -> Vec<String> {
        let data = placeholders.data.display().to_string();
        let fill = |text: &String| {
            text.replace("{name}", placeholders.name)
                .replace("{data}", &data)
                .replace("{client}", placeholders.client)
                .replace("{peer}", placeholders.peer)
                .replace("{cluster}", placeholders.cluster)
                .replace("{secure}", placeholders.secure)
        };
        self.arguments.iter().map(fill).collect()
    }
}
