//! An `etcd` process, its log, and requests to it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use conformance::http::{self, Request, Response};

/// On a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ONE_REQUEST: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

pub struct Etcd {
    child: Child,
    log: PathBuf,
}

impl Etcd {
    /// `line` are the arguments, `FOLDER/NAME` is the data directory.
    pub fn start(folder: &Path, name: &str, line: &str) -> Etcd {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_etcd"))
            .args(["-name", name, "-data-dir"])
            .arg(folder.join(name))
            .args(line.split_whitespace())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        Etcd { child: child.unwrap(), log }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Repeats `request` until it returns a value.
    pub fn until<T>(&mut self, what: &str, mut request: impl FnMut() -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(got) = request() {
                return got;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && began.elapsed() < PATIENCE, "{what}; {ended:?}:\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until the cluster responds at this member.
    pub fn until_serving(&mut self, address: &str) {
        self.until("it does not serve", || {
            let response = try_get(address, "/v2/keys/?quorum=true")?;
            (response.status == 200).then_some(())
        });
    }

    pub fn end(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                return ended;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::sleep(PAUSE);
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill();
        }
    }
}

pub fn try_get(address: &str, target: &str) -> Option<Response> {
    http::exchange(address.parse::<SocketAddr>().unwrap(), &Request::new("GET", target), ONE_REQUEST).ok()
}

pub fn ask(address: &str, request: &Request) -> Response {
    http::exchange(address.parse::<SocketAddr>().unwrap(), request, ONE_REQUEST).unwrap()
}

pub fn get(address: &str, target: &str) -> Response {
    ask(address, &Request::new("GET", target))
}

pub fn put(address: &str, target: &str, form: &str) -> Response {
    ask(address, &Request::form("PUT", target, form))
}
