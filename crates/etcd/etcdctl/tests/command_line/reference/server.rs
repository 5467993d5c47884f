//! Servers with their own directory and loopback ports; killed on drop.

use std::cell::{Cell, RefCell};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::transcript::Facts;

/// Debian's server, and the variable that overrides it.
const REFERENCE: (&str, &str) = ("/usr/bin/etcd", "KEELSON_REFERENCE_ETCD");
/// For a server that runs but makes no progress; an exit is noticed immediately.
const TIMEOUT: Duration = Duration::from_secs(300);
/// File with the server's stderr, in its directory.
const LOG: &str = "log";
const POLL: Duration = Duration::from_millis(20);
/// The same as in the conformance suite.
const STEADY_FOR: Duration = Duration::from_millis(600);

/// Writes of a new cluster with one member: the member, its name, the cluster version.
const FIRST_INDEX: u64 = 3;

/// The servers of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// Debian's etcd, one member.
    Debian,
    /// This project's etcd, one member.
    Alone,
    /// This project's etcd, three members; requests go to the first.
    Three,
}

impl Site {
    fn program(self) -> PathBuf {
        match self {
            Site::Debian => {
                PathBuf::from(std::env::var(REFERENCE.1).unwrap_or_else(|_| REFERENCE.0.to_owned()))
            }
            // Cargo puts all programs of a profile into one directory.
            Site::Alone | Site::Three => Path::new(env!("CARGO_BIN_EXE_etcdctl")).with_file_name("etcd"),
        }
    }
}

/// Reserved loopback URLs.
pub struct Addresses {
    pub url: String,
    pub peer: String,
}

impl Addresses {
    pub fn find() -> Addresses {
        let [url, peer] = [(); 2].map(|()| format!("http://{}", loopback_port::reserve().unwrap()));
        Addresses { url, peer }
    }
}

pub struct Etcd {
    site: Site,
    child: RefCell<Child>,
    /// The other members.
    others: Vec<Etcd>,
    url: String,
    peer: String,
    folder: tempfile::TempDir,
}

impl Etcd {
    pub fn start(site: Site) -> Etcd {
        let names: &[&str] = if site == Site::Three { &["n1", "n2", "n3"] } else { &["n1"] };
        let addresses: Vec<Addresses> = names.iter().map(|_| Addresses::find()).collect();
        let each = names.iter().zip(&addresses).map(|(name, addresses)| format!("{name}={}", addresses.peer));
        let cluster = each.collect::<Vec<_>>().join(",");
        let spawn =
            |(name, addresses): (&&str, &Addresses)| Etcd::spawn(site, name, addresses, &cluster, "new");
        let mut all: Vec<Etcd> = names.iter().zip(&addresses).map(spawn).collect();
        let mut first = all.remove(0);
        first.others = all;
        first.wait("its first index", |server| {
            let members = server.request("GET", "/v2/members", "");
            let version = server.request("GET", "/version", "");
            names.iter().all(|name| members.contains(&format!("\"name\":\"{name}\"")))
                && version.contains("etcdcluster")
                && !version.contains("not_decided")
                && server.index() >= FIRST_INDEX
        });
        first.wait_until_steady();
        first
    }

    /// A starting cluster writes records; cases depend on the index after them.
    fn wait_until_steady(&self) {
        let steady = Cell::new((0, Instant::now()));
        self.wait("an index that stands still", |server| {
            let index = server.index();
            if index != steady.get().0 {
                steady.set((index, Instant::now()));
            }
            steady.get().1.elapsed() >= STEADY_FOR
        });
    }

    /// Adds a member to this server's cluster.
    pub fn join(&self, name: &str, addresses: &Addresses, cluster: &str) -> Etcd {
        let server = Etcd::spawn(self.site, name, addresses, cluster, "existing");
        server.wait("health", |server| server.request("GET", "/health", "").contains("true"));
        // The member's name is one more write, which this member may not have applied yet.
        let named = format!("\"name\":\"{name}\"");
        self.wait("the new member's name", |first| first.request("GET", "/v2/members", "").contains(&named));
        server
    }

    fn spawn(site: Site, name: &str, addresses: &Addresses, cluster: &str, state: &str) -> Etcd {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join(LOG)).unwrap();
        let mut command = Command::new(site.program());
        if site == Site::Debian {
            command.arg("--enable-v2");
        }
        let child = command
            // Otherwise a member cannot be removed in its first 5 seconds.
            .arg("--strict-reconfig-check=false")
            .args(["--name", name, "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &addresses.url, "--advertise-client-urls", &addresses.url])
            .args(["--listen-peer-urls", &addresses.peer, "--initial-advertise-peer-urls", &addresses.peer])
            .args(["--initial-cluster", cluster, "--initial-cluster-state", state])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error} (Debian's: apt-get install etcd-server; ours: cargo build --bin etcd)",
                    site.program().display()
                )
            });
        let Addresses { url, peer } = addresses;
        let child = RefCell::new(child);
        Etcd { site, child, others: Vec::new(), url: url.clone(), peer: peer.clone(), folder }
    }

    pub fn facts(&self) -> Facts {
        let members = self.request("GET", "/v2/members", "");
        let id = members.split("\"id\":\"").nth(1).expect(&members).split('"').next().unwrap();
        Facts { url: self.url.clone(), peer: self.peer.clone(), id: id.to_owned(), index: self.index() }
    }

    /// Head and body of the response; empty if the connection failed.
    pub fn request(&self, method: &str, path: &str, form: &str) -> String {
        self.try_request(method, path, form).unwrap_or_default()
    }

    fn try_request(&self, method: &str, path: &str, form: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://"))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn index(&self) -> u64 {
        let answer = self.request("GET", "/v2/keys", "");
        let line = answer.lines().find_map(|line| line.strip_prefix("X-Etcd-Index: "));
        line.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    pub fn wait_for_watchers(&self, count: u64) {
        let wanted = format!("\"watchers\":{count}}}");
        self.wait("watchers", |server| server.request("GET", "/v2/stats/store", "").contains(&wanted));
    }

    fn wait(&self, what: &str, done: impl Fn(&Etcd) -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !done(self) {
            if let Some(member) = [self].into_iter().chain(&self.others).find(|member| member.ended()) {
                panic!("waiting for {what} of {}: {} ended: {}", self.url, member.url, member.log());
            }
            let received = self.request("GET", "/v2/stats/store", "");
            assert!(
                Instant::now() < deadline,
                "waited for {what} of {}; last seen: {received}; its log: {}",
                self.url,
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    fn ended(&self) -> bool {
        self.child.borrow_mut().try_wait().is_ok_and(|status| status.is_some())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default()
    }

    pub fn stop(&mut self) {
        let child = self.child.get_mut();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have been stopped before.
        if !self.ended() {
            self.stop();
        }
    }
}
