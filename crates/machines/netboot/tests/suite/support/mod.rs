//! A server with an image, and a client of HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netboot::progress::Event;
use netboot::server::{Server, Settings};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub const LIMIT: Duration = Duration::from_secs(20);
pub const STEM: &str = "keelson-9999.1.0-alpha-pxe";

pub struct Running {
    pub address: SocketAddr,
    pub folder: TempDir,
    pub events: Arc<Mutex<Vec<Event>>>,
    _stop: oneshot::Sender<()>,
}

pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Running {
    /// With an image whose kernel has 300,000 bytes, and these rules.
    pub fn start(rules: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("images")).unwrap();
        std::fs::write(at(&format!("images/{STEM}.vmlinuz")), vec![7; 300_000]).unwrap();
        std::fs::write(at(&format!("images/{STEM}-initrd.img")), b"0123456789").unwrap();
        std::fs::write(at(&format!("images/{STEM}.efi")), b"MZ").unwrap();
        std::fs::write(at("images/secret"), b"secret").unwrap();
        std::fs::write(at("user-data"), "#cloud-config\nhostname: n-$netboot_mac\n# $private_ipv4\n")
            .unwrap();
        if let Some(rules) = rules {
            std::fs::write(at("netboot.toml"), rules).unwrap();
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            address: Ipv4Addr::LOCALHOST,
            http_port: address.port(),
            images: at("images"),
            ipxe: at("ipxe"),
            rules: rules.map(|_| at("netboot.toml")),
            user_data: Some(at("user-data")),
            state: at("state"),
            lab: None,
        };
        let events = Arc::new(Mutex::new(Vec::new()));
        let seen = events.clone();
        let report = Box::new(move |event: &Event| seen.lock().unwrap().push(event.clone()));
        let server = Arc::new(Server::open(settings, report).unwrap());
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                netboot::http::serve(listener, server, async { stopped.await.unwrap_or_default() }).await;
            });
        });
        Self { address, folder, events, _stop: stop }
    }

    pub fn request(&self, method: &str, target: &str, headers: &str) -> Response {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let host = self.address;
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")
            .unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, "")
    }
}
