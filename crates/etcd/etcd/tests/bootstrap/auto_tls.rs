//! `-auto-tls`, `-peer-auto-tls`: self-signed certificates.

use std::fs;
use std::path::Path;

use conformance::backend::{in_own_namespaces, resolve_on_loopback};
use conformance::http::{Request, exchange};
use etcd_client::{Client, Config, GetOptions, SetOptions, TlsFiles};

use crate::process::Etcd;

fn member(folder: &Path, number: usize) -> Etcd {
    let name = format!("m{number}");
    let (peer, client) = (format!("https://127.0.0.{number}:2380"), format!("https://127.0.0.{number}:2379"));
    Etcd::start(
        folder,
        &name,
        &format!(
            "-auto-tls -peer-auto-tls -listen-peer-urls {peer} -initial-advertise-peer-urls {peer} \
             -listen-client-urls {client} -advertise-client-urls {client} \
             -initial-cluster m1=https://127.0.0.1:2380,m2=https://127.0.0.2:2380"
        ),
    )
}

/// A client that trusts only this member's certificate.
fn client(folder: &Path, number: usize) -> Client {
    let mut config = Config::new(vec![format!("https://127.0.0.{number}:2379").parse().unwrap()]);
    config.tls = TlsFiles { ca: Some(folder.join("fixtures/client/cert.pem")), ..TlsFiles::default() };
    Client::new(config).unwrap()
}

#[test]
fn a_cluster_secures_itself_and_keeps_its_certificates() {
    in_own_namespaces("auto_tls::a_cluster_secures_itself_and_keeps_its_certificates", || {
        resolve_on_loopback().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = |number: usize| folder.path().join(format!("m{number}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let serving = |member: &mut Etcd, number: usize| {
            member.until("it does not serve", || {
                let created = data(number).join("fixtures/client/cert.pem").exists();
                let read = created
                    .then(|| runtime.block_on(client(&data(number), number).get("/", GetOptions::default())));
                read?.ok()
            });
        };
        let (mut one, mut two) = (member(folder.path(), 1), member(folder.path(), 2));
        serving(&mut one, 1);
        serving(&mut two, 2);
        let write = |number: usize, value: &str| {
            runtime.block_on(client(&data(number), number).set("/a", value, &SetOptions::default())).unwrap();
        };
        write(1, "secured");
        // The members' certificates differ.
        let mut wrong = Config::new(vec!["https://127.0.0.2:2379".parse().unwrap()]);
        wrong.tls.ca = Some(data(1).join("fixtures/client/cert.pem"));
        let rejected = runtime.block_on(Client::new(wrong).unwrap().get("/a", GetOptions::default()));
        assert!(rejected.is_err(), "{rejected:?}");
        for address in ["127.0.0.1:2379", "127.0.0.1:2380"] {
            let plain =
                exchange(address.parse().unwrap(), &Request::new("GET", "/version"), PATIENCE).unwrap();
            assert!(plain.text().contains("Client sent an HTTP request to an HTTPS server"), "{address}");
        }
        let created = |number: usize| {
            let file = |name: &str| fs::read(data(number).join("fixtures").join(name)).unwrap();
            ["client/cert.pem", "client/key.pem", "peer/cert.pem", "peer/key.pem"].map(file)
        };
        let before = created(2);
        two.kill();
        let mut two = member(folder.path(), 2);
        serving(&mut two, 2);
        assert!(created(2) == before, "a restart must not make new ones");
        write(2, "after a restart");
    });
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
