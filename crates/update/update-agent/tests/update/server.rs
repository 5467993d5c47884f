//! A channel server with injected faults.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use omaha::{
    Action, AppStatus, Manifest, Package, Request, Response, ResponseApp, UpdateCheck, UpdateStatus,
};
use release::{Release, Version, files};
use update_core::roots::Role;
use update_engine::now;

use crate::repository::{Metadata, has};

/// The fault to inject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The status of a check.
    Status(u16),
    /// The body of a check.
    Body(String),
    /// The first `times` blob responses are truncated to `bytes` bytes.
    Short {
        bytes: usize,
        times: usize,
    },
    /// Blobs are a captive portal's login page.
    Portal,
    /// Blobs have one wrong byte.
    Flipped,
    /// Ranges are ignored.
    NoRanges,
    /// The version is withdrawn while its blob is transferred.
    Withdrawn,
    /// Each blob response takes this time.
    Slow(Duration),
    /// The file does not exist.
    Missing(&'static str),
    /// The timestamp is expired.
    Stale,
    /// The channel has another release than is offered.
    MixedReleases,
    /// No update, for this reason.
    NoUpdate(&'static str),
    /// No update, since the channel's version is banned, so that the channel has none.
    Banned,
    /// No update, and the last timestamp is expired.
    Frozen,
    /// No update, and no timestamp.
    NoTimestamp,
    /// No update, and the timestamp is signed by another key.
    Forged,
    /// Files with other content, by name.
    Serves(Vec<(String, Vec<u8>)>),
    /// The body of this file does not end.
    Endless(String),
    /// The body of this file does not begin.
    Silent(String),
}

pub struct Server {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    keys: PathBuf,
    base: String,
    /// Metadata as signed for the last request of a timestamp.
    metadata: Mutex<BTreeMap<String, Vec<u8>>>,
    fault: Mutex<Fault>,
    requests: Mutex<Vec<Request>>,
    /// Bodies of checks, and the registration codes sent with them.
    codes: Mutex<Vec<(Vec<u8>, Option<String>)>>,
    /// Bytes of blobs sent.
    sent: Mutex<u64>,
    /// Names of requested files.
    files: Mutex<Vec<String>>,
}

impl Server {
    pub fn new(folder: PathBuf, keys: PathBuf, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            folder,
            keys,
            base: base.clone(),
            metadata: Mutex::default(),
            fault: Mutex::new(fault),
            requests: Mutex::default(),
            codes: Mutex::default(),
            sent: Mutex::default(),
            files: Mutex::default(),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = serving.clone();
                // A disconnected client does not affect others.
                std::thread::spawn(move || drop(shared.serve(&stream)));
            }
        });
        Self { url: format!("{base}v1/update/"), shared }
    }

    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    pub fn sent(&self) -> u64 {
        *self.shared.sent.lock().unwrap()
    }

    /// Names of the files that were requested, in order.
    pub fn files(&self) -> Vec<String> {
        self.shared.files.lock().unwrap().clone()
    }

    /// Whether each request so far proved the registration token.
    pub fn registered(&self, token: &str) -> Vec<bool> {
        let codes = self.shared.codes.lock().unwrap();
        let valid = |(body, code): &(Vec<u8>, Option<String>)| {
            let code = code.as_ref().map(|code| code.parse().unwrap());
            code.is_some_and(|code| omaha::registration::is_valid(token, body, code))
        };
        codes.iter().map(valid).collect()
    }

    /// All reported events: type and result, error code and version.
    pub fn events(&self) -> Vec<String> {
        let requests = self.shared.requests.lock().unwrap();
        let events = requests.iter().flat_map(|request| &request.apps).flat_map(|app| &app.events);
        events
            .map(|event| {
                let code = event.error.map(|code| format!(" {}", code.0)).unwrap_or_default();
                let version = event.previous_version.as_ref().map(|v| format!(" {v:?}")).unwrap_or_default();
                format!("{}/{}{code}{version}", event.kind.0, event.result.0)
            })
            .collect()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let (mut length, mut range, mut code) = (0, None, None);
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length: ") {
                    length = value.parse().unwrap();
                }
                if let Some(value) = header.strip_prefix(omaha::registration::HEADER) {
                    code = Some(value.trim_start_matches(": ").to_owned());
                }
                if let Some((from, to)) =
                    header.strip_prefix("range: bytes=").and_then(|value| value.split_once('-'))
                {
                    range = Some((from.parse::<usize>().unwrap(), to.parse::<usize>().unwrap()));
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            if path == "/v1/update/" {
                self.codes.lock().unwrap().push((body.clone(), code));
                self.check(&body, stream)?
            } else {
                let name = path.rsplit('/').next().unwrap_or_default();
                self.file(name, path.contains("/metadata/"), range, stream)?
            }
        }
    }

    fn check(&self, body: &[u8], mut to: &TcpStream) -> std::io::Result<()> {
        let request = Request::read(body).unwrap();
        let app = request.apps[0].clone();
        self.requests.lock().unwrap().push(request);
        let fault = self.fault.lock().unwrap().clone();
        let text = match fault {
            Fault::Status(status) => return respond(to, status, "text/plain", "", b"too much to do"),
            Fault::Body(text) => text,
            _ => {
                let no_update = |reason: &str| {
                    UpdateCheck::without_update(UpdateStatus::NoUpdate, Some(reason.to_owned()))
                };
                let check = match fault.clone() {
                    Fault::NoUpdate(reason) => no_update(reason),
                    Fault::Banned => no_update("banned"),
                    Fault::Frozen | Fault::NoTimestamp | Fault::Forged => no_update("up-to-date"),
                    _ => self.offer(&fault),
                };
                let apps = vec![ResponseApp::echo(&app, AppStatus::Ok, check)];
                Response { server: "test".into(), day_start: 0, apps }.write()
            }
        };
        respond(&mut to, 200, "text/xml", "", text.as_bytes())
    }

    fn offer(&self, fault: &Fault) -> UpdateCheck {
        let other = match fault {
            Fault::Serves(files) => files.iter().find(|(name, _)| name == files::RELEASE),
            _ => None,
        };
        let honest = fs::read(self.folder.join(files::RELEASE)).unwrap();
        let other = other.and_then(|(_, bytes)| Release::parse(bytes).ok());
        let release = other.unwrap_or_else(|| Release::parse(&honest).unwrap());
        let package =
            |name: &str, size: u64| Package { name: name.into(), size, required: true, ..Package::default() };
        let mut packages = vec![package(release.full.blob.url.as_str(), release.full.blob.size)];
        packages.push(package(files::RELEASE, 1));
        let sha256 = omaha::Sha256(release.full.blob.sha256.0);
        UpdateCheck {
            status: UpdateStatus::Ok,
            reason: None,
            poll_interval: None,
            urls: vec![self.base.clone()],
            manifest: Some(Manifest {
                version: release.version.to_string(),
                packages,
                actions: vec![Action::postinstall(sha256)],
            }),
        }
    }

    fn file(
        &self,
        name: &str,
        is_metadata: bool,
        range: Option<(usize, usize)>,
        mut to: &TcpStream,
    ) -> std::io::Result<()> {
        let fault = self.fault.lock().unwrap().clone();
        self.files.lock().unwrap().push(name.to_owned());
        match &fault {
            Fault::Endless(file) if file == name => return endless(to),
            Fault::Silent(file) if file == name => {
                // Until the client closes the connection.
                return to.read(&mut [0]).map(drop);
            }
            _ => {}
        }
        if matches!(fault, Fault::Missing(file) if file == name) {
            return respond(&mut to, 404, "text/plain", "", b"");
        }
        let other = match &fault {
            Fault::Serves(files) => {
                files.iter().find(|(file, _)| file == name).map(|(_, bytes)| bytes.clone())
            }
            _ => None,
        };
        if is_metadata && other.is_none() {
            if fault == Fault::NoTimestamp {
                return respond(&mut to, 404, "text/plain", "", b"");
            }
            if name == "timestamp.json" {
                *self.metadata.lock().unwrap() = self.metadata(&fault).sign(&self.keys);
            }
            let known = self.metadata.lock().unwrap().get(name).cloned();
            // Roots are fetched before the timestamp.
            let known = known.or_else(|| fs::read(self.folder.join(name)).ok());
            return match known {
                Some(bytes) => respond(&mut to, 200, "application/json", "", &bytes),
                None => respond(&mut to, 404, "text/plain", "", b""),
            };
        }
        let mut bytes = other.unwrap_or_else(|| fs::read(self.folder.join(name)).unwrap_or_default());
        let is_blob = name.ends_with(".blob");
        if is_blob && fault == Fault::Portal {
            return respond(&mut to, 200, "text/html", "", b"<html>please log in</html>");
        }
        if is_blob && fault == Fault::Flipped {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        if is_blob && fault == Fault::Withdrawn {
            *self.fault.lock().unwrap() = Fault::NoTimestamp;
        }
        if let Fault::Slow(delay) = fault
            && is_blob
        {
            std::thread::sleep(delay);
        }
        match range.filter(|_| fault != Fault::NoRanges) {
            Some(range) => self.range(&bytes, range, is_blob, to),
            None => respond(&mut to, 200, "application/octet-stream", "", &bytes),
        }
    }

    fn range(
        &self,
        bytes: &[u8],
        (from, last): (usize, usize),
        is_blob: bool,
        mut to: &TcpStream,
    ) -> std::io::Result<()> {
        let last = last.min(bytes.len() - 1);
        let head = format!("Content-Range: bytes {from}-{last}/{}\r\n", bytes.len());
        let body = &bytes[from..=last];
        let mut fault = self.fault.lock().unwrap();
        if let Fault::Short { bytes, times } = &mut *fault
            && is_blob
            && *times > 0
        {
            *times -= 1;
            let some = &body[..body.len().min(*bytes)];
            write!(to, "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\n{head}\r\n", body.len())?;
            to.write_all(some)?;
            *self.sent.lock().unwrap() += some.len() as u64;
            return to.shutdown(std::net::Shutdown::Both);
        }
        drop(fault);
        *self.sent.lock().unwrap() += if is_blob { body.len() as u64 } else { 0 };
        respond(&mut to, 206, "application/octet-stream", &head, body)
    }

    fn metadata(&self, fault: &Fault) -> Metadata {
        let mut metadata = Metadata::honest(&self.folder, &self.keys);
        match fault {
            Fault::Stale | Fault::Frozen => metadata.expires = now() - 10,
            Fault::MixedReleases => metadata.channels = vec![has("alpha", &Version::new(2, 9, 0))],
            Fault::Banned => metadata.channels.clear(),
            Fault::Forged => metadata.timestamp_key = Role::Release,
            _ => {}
        }
        metadata
    }
}

/// A body without an end, until the client closes the connection.
fn endless(mut to: &TcpStream) -> std::io::Result<()> {
    to.write_all(b"HTTP/1.1 200 X\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n\r\n")?;
    loop {
        to.write_all(&[b' '; 1 << 16])?;
    }
}

fn respond(
    mut to: impl Write,
    status: u16,
    content_type: &str,
    extra_headers: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let length = body.len();
    write!(
        to,
        "HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{extra_headers}\r\n"
    )?;
    to.write_all(body)
}
