//! Load test of the channel server: checks per second, latencies and memory.
//!
//! The server runs in a separate process (this program with `serve` and a folder) to measure its memory separately.
//! The load comes from `channel_server::fake`. `cargo xtask bench updates` parses the `figure` lines.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement stops at what it did not expect")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use channel_server::fake::{LoadReport, Machines, load};
use channel_server::{Server, Settings};
use rollout::App;
use tokio::net::TcpListener;

const APP: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";
const MACHINES: usize = 10_000;
const CONNECTIONS: usize = 64;
/// Every machine once per five seconds.
const RATE: f64 = 2000.0;
const TIME: Duration = Duration::from_secs(20);

struct ServerProcess {
    child: Child,
    url: String,
    _data: tempfile::TempDir,
}

impl ServerProcess {
    fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("serve")
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: format!("http://{}/v1/update/", line.trim()), _data: data }
    }

    /// Peak resident memory in MiB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(data: &Path) {
    let app = App { id: APP.into(), name: "Keelson".into(), product_id: Some("keelson".into()) };
    let settings = Settings { data: data.into(), public_url: None, key: None, app };
    let server = Arc::new(Server::open(settings).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    channel_server::serve(server, listener, std::future::pending()).await;
}

#[tokio::main(flavor = "current_thread")]
async fn measure(url: &str, rate: Option<f64>) -> LoadReport {
    let machines = Machines {
        url: url.into(),
        app_id: APP.into(),
        track: "alpha".into(),
        board: "amd64-usr".into(),
        version: "1.0.0".into(),
        count: MACHINES,
    };
    load(machines, CONNECTIONS, TIME, rate).await.unwrap()
}

fn figure(what: &str, target: &str, measured: String) {
    println!("figure\t{what}\t{target}\t{measured}");
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("serve") {
        return serve(Path::new(&arguments.next().unwrap()));
    }
    let server = ServerProcess::start();
    // The first run registers all machines.
    let paced = measure(&server.url, Some(RATE));
    let fastest = measure(&server.url, None);
    for report in [&paced, &fastest] {
        eprintln!("{report:?}");
        assert_eq!(report.failed, 0);
        assert!(report.checks > MACHINES as u64, "not all of them were heard");
    }
    let milliseconds = |micros: u64| format!("{:.1} ms", micros as f64 / 1000.0);
    let machines = format!("channel server, {MACHINES} machines");
    figure(
        &format!("{machines}: checks a second, as fast as it answers"),
        ">= 2,000",
        format!("{:.0}", fastest.per_second),
    );
    figure(&format!("{machines}: p99 at {RATE:.0} checks a second"), "<= 20 ms", milliseconds(paced.p99));
    figure(&format!("{machines}: memory at most"), "<= 100 MiB", format!("{:.0} MiB", server.memory()));
}
