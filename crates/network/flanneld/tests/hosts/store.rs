//! An in-memory key-value store that is served within a network namespace.

use std::{sync::Arc, time::Duration};

use etcd_api::Member;
use etcd_client::{Client, Config, DeleteOptions, GetOptions, Node, SetOptions};
use etcd_http::{
    Cors, Front, Hosts, Local, Settings,
    server::{Listener, Running, serve},
};
use tokio::runtime::Runtime;

use crate::namespace::Namespace;

pub const PREFIX: &str = "/coreos.com/network";

pub struct Store {
    /// Its threads are in the namespace.
    runtime: Runtime,
    running: Option<Running>,
    front: Arc<Front<Local>>,
    address: std::net::SocketAddr,
    client: Client,
    pub url: String,
}

impl Store {
    pub fn start(namespace: &Namespace, address: &str) -> Store {
        let address: std::net::SocketAddr = format!("{address}:2379").parse().unwrap();
        namespace.run(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let member = Member { id: 1, name: "n1".into(), peer_urls: Vec::new(), client_urls: Vec::new() };
            let inside = runtime.enter();
            let local = Local::new(member, 2);
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
            let front = Arc::new(Front::new(local, settings).unwrap());
            let running = Some(listen(address, front.clone()));
            drop(inside);
            let url = format!("http://{address}");
            let client = Client::new(Config::new(vec![url.parse().unwrap()])).unwrap();
            Store { runtime, running, front, address, client, url }
        })
    }

    /// Closes the port. Keys remain.
    pub fn stop(&mut self) {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop(Duration::ZERO));
    }

    /// Opens the port again.
    pub fn serve(&mut self, namespace: &Namespace) {
        let (front, address, handle) = (self.front.clone(), self.address, self.runtime.handle().clone());
        self.running = Some(namespace.run(move || {
            let _inside = handle.enter();
            listen(address, front)
        }));
    }

    /// The node of a key below the prefix.
    pub fn get(&self, key: &str) -> Option<Node> {
        let (client, key) = (self.client.clone(), format!("{PREFIX}/{key}"));
        let options = GetOptions { recursive: true, ..GetOptions::default() };
        self.wait(async move { client.get(&key, options).await.ok().map(|response| response.node()) })
    }

    pub fn set(&self, key: &str, value: &str, ttl: Option<Duration>) {
        let (client, key, value) = (self.client.clone(), format!("{PREFIX}/{key}"), value.to_owned());
        let options = SetOptions { ttl, ..SetOptions::default() };
        self.wait(async move { client.set(&key, value, &options).await.map(drop) }).unwrap();
    }

    pub fn delete(&self, key: &str) {
        let (client, key) = (self.client.clone(), format!("{PREFIX}/{key}"));
        self.wait(async move { client.delete(&key, &DeleteOptions::default()).await.map(drop) }).unwrap();
    }

    /// Runs on a thread in the namespace.
    fn wait<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.block_on(self.runtime.spawn(request)).unwrap()
    }
}

fn listen(address: std::net::SocketAddr, front: Arc<Front<Local>>) -> Running {
    serve(vec![Listener::bind(address, None).unwrap()], front, 1000).unwrap()
}
