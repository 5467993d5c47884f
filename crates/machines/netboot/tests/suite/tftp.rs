//! The TFTP server and clients on the loopback: curl, and one that loses packets.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netboot::tftp::server::{Source, serve};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Files {
    paths: BTreeMap<String, PathBuf>,
    sent: Mutex<Vec<(IpAddr, String)>>,
}

impl Source for Files {
    fn find(&self, name: &str) -> Option<PathBuf> {
        self.paths.get(name).cloned()
    }

    fn sent(&self, client: IpAddr, name: &str) {
        self.sent.lock().unwrap().push((client, name.to_owned()));
    }
}

/// A server in a thread of its own; it ends with this.
struct Server {
    address: SocketAddr,
    files: Arc<Files>,
    folder: TempDir,
    _stop: oneshot::Sender<()>,
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap()).collect()
}

impl Server {
    fn start(files: &[(&str, usize)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = BTreeMap::new();
        for (name, size) in files {
            let path = folder.path().join(name);
            std::fs::write(&path, content(*size)).unwrap();
            paths.insert((*name).to_owned(), path);
        }
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let files = Arc::new(Files { paths, ..Files::default() });
        let (stop, stopped) = oneshot::channel();
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        let source = files.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = UdpSocket::from_std(socket).unwrap();
                let stop = async { stopped.await.unwrap_or_default() };
                serve(socket, source, stop).await;
            });
        });
        Self { address, files, folder, _stop: stop }
    }

    fn curl(&self, name: &str, arguments: &[&str]) -> (Output, Vec<u8>) {
        let target = self.folder.path().join("received");
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--path-as-is", "--output"])
            .arg(&target)
            .args(arguments)
            .arg(format!("tftp://{}/{name}", self.address))
            .output()
            .unwrap();
        (output, std::fs::read(target).unwrap_or_default())
    }

    /// Waits for the server, which records a transfer after its last acknowledgement.
    fn sent(&self) -> Vec<(IpAddr, String)> {
        let deadline = std::time::Instant::now() + LIMIT;
        while self.files.sent.lock().unwrap().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.files.sent.lock().unwrap().clone()
    }
}

#[test]
fn curl_loads_files_of_any_length() {
    for size in [1, 511, 512, 513, 1468 * 3, 1_000_003] {
        let server = Server::start(&[("ipxe.efi", size)]);
        for arguments in [&[][..], &["--tftp-blksize", "1468"], &["--tftp-no-options"]] {
            let (output, received) = server.curl("ipxe.efi", arguments);
            assert!(output.status.success(), "{size} {arguments:?}: {output:?}");
            assert!(received == content(size), "{size} {arguments:?}: {} bytes", received.len());
        }
        let sent = server.sent();
        assert_eq!(sent[0], (Ipv4Addr::LOCALHOST.into(), "ipxe.efi".to_owned()));
    }
}

/// The names of a request are looked up, not opened.
#[test]
fn nothing_but_the_files_of_the_table_is_served() {
    let server = Server::start(&[("ipxe.efi", 10)]);
    let secret = server.folder.path().join("secret");
    let secret = secret.to_str().unwrap();
    for name in ["secret", "./secret", "../secret", "ipxe.efi/../secret", secret, "", "..", "ipxe.efi/"] {
        let (output, received) = server.curl(name, &[]);
        assert!(!output.status.success(), "{name}: {received:?}");
        assert!(received.is_empty(), "{name}: {received:?}");
    }
    let upload = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--upload-file", secret])
        .arg(format!("tftp://{}/ipxe.efi", server.address))
        .output()
        .unwrap();
    assert!(!upload.status.success());
    assert_eq!(std::fs::read(server.folder.path().join("ipxe.efi")).unwrap(), content(10));
}

/// A client that sends `request` and acknowledges what it receives; it loses each eleventh packet.
async fn receive(server: SocketAddr, request: &[u8], block: usize, window: u16) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(request, server).await.unwrap();
    let mut buffer = vec![0; 70_000];
    let (mut bytes, mut has, mut in_window, mut count) = (Vec::new(), 0_u16, 0, 0);
    loop {
        let received = timeout(Duration::from_millis(300), socket.recv_from(&mut buffer)).await;
        count += 1;
        assert!(count < 10_000, "no end after block {has}");
        let Ok(received) = received else { continue };
        let (length, peer) = received.unwrap();
        if count % 11 == 0 {
            continue;
        }
        match buffer[..length] {
            [0, 6, ..] => {}
            [0, 3, high, low, ref data @ ..] => {
                let number = u16::from_be_bytes([high, low]);
                if number == has.wrapping_add(1) {
                    has = number;
                    in_window += 1;
                    bytes.extend_from_slice(data);
                    if data.len() < block {
                        let ack = [[0, 4], has.to_be_bytes()].concat();
                        socket.send_to(&ack, peer).await.unwrap();
                        return bytes;
                    }
                    if in_window < window {
                        continue;
                    }
                }
            }
            ref other => panic!("{other:?}"),
        }
        in_window = 0;
        socket.send_to(&[[0, 4], has.to_be_bytes()].concat(), peer).await.unwrap();
    }
}

#[tokio::test]
async fn windows_and_lost_packets() {
    let server = Server::start(&[("a.efi", 60_000)]);
    for (request, block, window) in [
        (&b"\0\x01a.efi\0octet\0blksize\x001024\0windowsize\x008\0timeout\x001\0tsize\x000\0"[..], 1024, 8),
        (b"\0\x01/a.efi\0octet\0blksize\x0065464\0", 1468, 1),
    ] {
        let bytes = timeout(LIMIT, receive(server.address, request, block, window)).await.unwrap();
        assert!(bytes == content(60_000), "{} bytes", bytes.len());
    }
}

#[tokio::test]
async fn a_client_has_a_limited_number_of_transfers() {
    let server = Server::start(&[("a.efi", 5000)]);
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.send_to(b"\0\x01a.efi\0octet\0", server.address).await.unwrap();
        sockets.push(socket);
    }
    let (first, others) = sockets.split_at(4);
    let mut buffer = [0; 600];
    for socket in first {
        timeout(LIMIT, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    }
    for socket in others {
        timeout(Duration::from_millis(50), socket.recv_from(&mut buffer)).await.unwrap_err();
    }
}
