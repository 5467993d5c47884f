//! A key-value server in memory with its own threads, and blocking requests to it, for tests of etcd's clients. Every
//! failure panics.

#![warn(missing_docs)]
#![allow(clippy::unwrap_used, reason = "for tests only")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use etcd_api::Member;
use etcd_client::{Client, Config, DeleteOptions, GetOptions, Node, SetOptions};
use etcd_http::server::{Listener, Running, serve};
use etcd_http::{Cors, Front, Hosts, Local, Settings};
use tokio::runtime::{Builder, Runtime};

const CONNECTIONS: usize = 1000;

/// The server. Its port closes when it is dropped.
pub struct MemoryEtcd {
    /// The URL of the port.
    pub url: String,
    address: SocketAddr,
    front: Arc<Front<Local>>,
    /// None while the port is closed.
    running: Option<Running>,
    client: Client,
    /// All work is done on its threads, which are in the network namespace of the thread that started the server.
    runtime: Runtime,
}

impl MemoryEtcd {
    /// Starts an empty server, of version 2.3.8, on `IP:PORT`. Port 0 is a free one.
    #[must_use]
    pub fn start(address: &str) -> MemoryEtcd {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let member = Member { id: 1, name: "n1".into(), peer_urls: Vec::new(), client_urls: Vec::new() };
        let local = Local::new(member, 2);
        let inside = runtime.enter();
        local.start_expiry();
        drop(inside);
        let settings = Settings {
            server_version: "2.3.8".into(),
            cors: Cors::default(),
            hosts: Hosts::default(),
            command_line: vec!["etcd".into()],
            set_log_level: None,
            registries: Vec::new(),
            secret: [3; 32],
        };
        let front = Arc::new(Front::new(local, settings).unwrap());
        let running = listen(&runtime, address.parse().unwrap(), Arc::clone(&front));
        let address = running.addresses()[0];
        let url = format!("http://{address}");
        let client = Client::new(Config::new(vec![url.parse().unwrap()])).unwrap();
        MemoryEtcd { url, address, front, running: Some(running), client, runtime }
    }

    /// Closes the port and all connections. Keys remain.
    pub fn stop(&mut self) {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop(Duration::ZERO));
    }

    /// Opens the port again.
    pub fn resume(&mut self) {
        self.running = Some(listen(&self.runtime, self.address, Arc::clone(&self.front)));
    }

    /// The node of a key with all nodes below it; none if there is no such key.
    #[must_use]
    pub fn node(&self, key: &str) -> Option<Node> {
        let (client, key) = (self.client.clone(), key.to_owned());
        let options = GetOptions { recursive: true, ..GetOptions::default() };
        let got = self.wait(async move { client.get(&key, options).await });
        got.ok().map(|response| response.node())
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.node(key)?.value
    }

    /// Sets a key without a TTL.
    pub fn set(&self, key: &str, value: &str) {
        self.set_with(key, value, SetOptions::default());
    }

    /// Sets a key.
    pub fn set_with(&self, key: &str, value: &str, options: SetOptions) {
        let (client, key, value) = (self.client.clone(), key.to_owned(), value.to_owned());
        self.wait(async move { client.set(&key, value, &options).await }).unwrap();
    }

    /// Deletes a key with all keys below it.
    pub fn delete(&self, key: &str) {
        let (client, key) = (self.client.clone(), key.to_owned());
        let options = DeleteOptions { recursive: true, ..DeleteOptions::default() };
        self.wait(async move { client.delete(&key, &options).await }).unwrap();
    }

    fn wait<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(self.runtime.spawn(request)).unwrap()
    }
}

fn listen(runtime: &Runtime, address: SocketAddr, front: Arc<Front<Local>>) -> Running {
    let bound =
        async move { serve(vec![Listener::bind(address, None).unwrap()], front, CONNECTIONS).unwrap() };
    runtime.block_on(runtime.spawn(bound)).unwrap()
}
