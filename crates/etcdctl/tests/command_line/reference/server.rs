//! An etcd of Debian's with its own folder and ports on loopback; it ends with the value.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::transcript::Facts;

const SERVER: &str = "/usr/bin/etcd";
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// So many changes a fresh cluster of one makes by itself: a member, its name, the cluster's version.
const FIRST_INDEX: u64 = 3;

/// Addresses that are free.
pub struct Places {
    pub url: String,
    pub peer: String,
}

impl Places {
    pub fn find() -> Places {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [url, peer] = listeners.map(|one| format!("http://{}", one.local_addr().unwrap()));
        Places { url, peer }
    }
}

pub struct Etcd {
    child: Child,
    url: String,
    peer: String,
    _folder: tempfile::TempDir,
}

impl Etcd {
    pub fn start(name: &str) -> Etcd {
        let places = Places::find();
        let cluster = format!("{name}={}", places.peer);
        let server = Etcd::spawn(name, &places, &cluster, "new");
        server.wait("its first index", |server| server.index() >= FIRST_INDEX);
        server
    }

    pub fn join(name: &str, places: &mut Places, cluster: &str) -> Etcd {
        let server = Etcd::spawn(name, places, cluster, "existing");
        server.wait("health", |server| server.request("GET", "/health", "").contains("true"));
        server
    }

    fn spawn(name: &str, places: &Places, cluster: &str, state: &str) -> Etcd {
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(SERVER)
            // Else a member can not be removed in its first 5 seconds.
            .arg("--strict-reconfig-check=false")
            .args(["--enable-v2", "--name", name, "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &places.url, "--advertise-client-urls", &places.url])
            .args(["--listen-peer-urls", &places.peer, "--initial-advertise-peer-urls", &places.peer])
            .args(["--initial-cluster", cluster, "--initial-cluster-state", state])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Debian's etcd: apt-get install etcd-server");
        let Places { url, peer } = places;
        Etcd { child, url: url.clone(), peer: peer.clone(), _folder: folder }
    }

    pub fn facts(&self) -> Facts {
        let members = self.request("GET", "/v2/members", "");
        let id = members.split("\"id\":\"").nth(1).expect(&members).split('"').next().unwrap();
        Facts { url: self.url.clone(), peer: self.peer.clone(), id: id.to_owned(), index: self.index() }
    }

    /// The head and body of the answer; empty when nobody answers.
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
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let seen = self.request("GET", "/v2/stats/store", "");
            assert!(Instant::now() < deadline, "waited for {what} of {}; last seen: {seen}", self.url);
            std::thread::sleep(POLL);
        }
    }

    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have been stopped before.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
    }
}
