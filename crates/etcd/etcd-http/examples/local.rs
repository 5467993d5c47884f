//! Serves an in-memory store, for trying clients and cases:
//! `cargo run -p etcd-http --example local -- --listen 127.0.0.1:2379`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use etcd_api::Member;
use etcd_http::server::{Listener, connection_limit, serve};
use etcd_http::{Cors, Front, Hosts, Local, Settings};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let address = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--listen"), Some(address)) => address.parse::<SocketAddr>().ok(),
        _ => None,
    };
    let Some(address) = address else {
        eprintln!("usage: local --listen IP:PORT");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Box::from).and_then(|runtime| runtime.block_on(run(address))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let listener = Listener::bind(address, None)?;
    let member = Member {
        id: 0x1bda_e9bb_c11d_d390,
        name: "local".to_owned(),
        peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
        client_urls: vec![format!("http://{address}")],
    };
    let local = Local::new(member, 0x7e27_652122e8b2ae);
    local.start_expiry();
    let settings = Settings {
        server_version: "2.3.8".to_owned(),
        cors: Cors::default(),
        hosts: Hosts::default(),
        command_line: std::env::args().collect(),
        set_log_level: None,
        registries: Vec::new(),
        secret: [0; 32],
    };
    let front = Arc::new(Front::new(local, settings)?);
    let running = serve(vec![listener], front, connection_limit())?;
    println!("listening on http://{}", running.addresses()[0]);
    tokio::signal::ctrl_c().await?;
    let cut = running.stop(Duration::from_secs(2)).await;
    println!("stopped, {cut} connections cut");
    Ok(())
}
