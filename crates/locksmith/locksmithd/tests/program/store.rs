//! An in-memory key-value store, and locksmithctl against it.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use etcd_api::Member;
use etcd_client::{Client, Config, GetOptions};
use etcd_http::server::{Listener, Running, serve};
use etcd_http::{Cors, Front, Hosts, Local, Settings};
use tokio::runtime::Runtime;

pub const SEMAPHORE: &str = "/coreos.com/updateengine/rebootlock/semaphore";
pub const METADATA: &str = "/coreos.com/updateengine/rebootlock/semaphore.meta";

pub struct Store {
    runtime: Runtime,
    _running: Running,
    client: Client,
    pub url: String,
}

impl Store {
    pub fn start() -> Store {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let member = Member { id: 1, name: "n1".into(), peer_urls: Vec::new(), client_urls: Vec::new() };
        let local = Local::new(member, 2);
        let inside = runtime.enter();
        local.start_expiry();
        let settings = Settings {
            server_version: "2.3.8".into(),
            cors: Cors::default(),
            hosts: Hosts::default(),
            command_line: vec!["etcd".into()],
            set_log_level: None,
            registries: Vec::new(),
            secret: [3; 32],
        };
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
        let running = serve(vec![listener], Arc::new(Front::new(local, settings).unwrap()), 1000).unwrap();
        drop(inside);
        let url = format!("http://{}", running.addresses()[0]);
        let client = Client::new(Config::new(vec![url.parse().unwrap()])).unwrap();
        Store { runtime, _running: running, client, url }
    }

    pub fn get(&self, key: &str) -> Option<String> {
        let got = self.runtime.block_on(self.client.get(key, GetOptions::default()));
        got.ok().and_then(|response| response.node().value)
    }

    pub fn set(&self, key: &str, value: &str) {
        self.runtime.block_on(self.client.set(key, value, &etcd_client::SetOptions::default())).unwrap();
    }

    /// Runs locksmithctl; returns stdout, marked stderr, and the exit code if not 0.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        ctl(&[&["-endpoint", self.url.as_str()], arguments].concat())
    }
}

pub fn program(name: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_locksmithd"));
    command.arg0(name).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

pub fn ctl(arguments: &[&str]) -> String {
    let output = program("locksmithctl").args(arguments).output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .for_each(|line| text.push_str(&format!("err| {line}\n")));
    match output.status.code() {
        Some(0) => text,
        code => format!("{text}exit {code:?}\n"),
    }
}
