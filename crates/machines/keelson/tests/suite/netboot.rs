//! `keelson serve-netboot` from the view of operators, and of machines in a network namespace.

mod client;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use client::{Client, Network, SERVER};
use machines::network::namespace;
use netboot::dhcp::packet::{MessageType, option};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::keelson;

const STEM: &str = "keelson-9999.1.0-alpha-pxe";
const URL: &str = "http://10.9.0.1:8042";

fn serve_netboot(folder: &Path) -> Command {
    let mut command = keelson(folder);
    command.arg("serve-netboot");
    command
}

/// Loaders and an image.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("dist")).unwrap();
    std::fs::create_dir_all(at("ipxe")).unwrap();
    for name in ["ipxe/undionly.kpxe", "ipxe/snponly.efi"] {
        std::fs::write(at(name), name.repeat(5000)).unwrap();
    }
    for suffix in [".vmlinuz", "-initrd.img", ".efi"] {
        std::fs::write(at(&format!("dist/{STEM}{suffix}")), suffix.repeat(5000)).unwrap();
    }
    std::fs::write(at("user-data"), "#cloud-config\n").unwrap();
    folder
}

/// Ends with the test, also if it fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A server with `--json`, in a namespace or in this one.
struct Server {
    _process: Process,
    lines: BufReader<ChildStdout>,
    start: Value,
}

impl Server {
    fn start(folder: &Path, namespace: Option<&OwnedFd>, arguments: &[&str]) -> Self {
        let mut command = serve_netboot(folder);
        command.args(["--json", "--images", "dist", "--ipxe", "ipxe"]).args(arguments).stdout(Stdio::piped());
        if let Some(namespace) = namespace {
            namespace::run_in(&mut command, namespace);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self { _process: Process(child), lines, start: Value::Null };
        server.start = server.line();
        server
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// The stage and detail of the next event.
    fn event(&mut self) -> (String, String) {
        let line = self.line();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        assert!(text("time").ends_with('Z'), "{line}");
        (text("stage"), text("detail"))
    }
}

fn check(arguments: &[&str], code: i32, error: &str) {
    let folder = folder();
    let output = serve_netboot(folder.path()).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(error), "{arguments:?}: {stderr}");
}

#[test]
fn usage_errors_exit_with_2_and_failures_with_1() {
    let local = ["--address", "127.0.0.1", "--no-dhcp", "--tftp-port", "0", "--http-port", "0"];
    let with = |more: &[&'static str]| [&local[..], more].concat();
    check(&[], 2, "--images");
    check(&with(&["--images", "dist", "--user-data", "user-data", "--rules", "a"]), 2, "cannot be used with");
    check(&["--images", "dist", "--address", "192.0.2.1"], 2, "no interface of this host has the address");
    check(&["--images", "dist", "--dhcp", "10.9.0.9-10.9.0.1"], 2, "the first address is after the last");
    check(
        &["--images", "dist", "--address", "127.0.0.1", "--dhcp", "10.9.0.1-10.9.0.9"],
        2,
        "is not in 127.0.0.0/8",
    );
    check(&with(&["--images", "none"]), 1, "error: cannot use the folder of images: cannot list");
    check(&with(&["--images", "dist", "--user-data", "none"]), 1, "cannot read none");
    let not_rules = "dist/keelson-9999.1.0-alpha-pxe.vmlinuz";
    check(&with(&["--images", "dist", "--rules", not_rules]), 1, "-pxe.vmlinuz:1:40001: missing value");
}

#[test]
fn a_port_in_use_is_reported_with_what_to_do() {
    let folder = folder();
    let arguments = ["--address", "127.0.0.1", "--no-dhcp", "--tftp-port", "0", "--http-port", "0"];
    let server = Server::start(folder.path(), None, &arguments);
    let url = server.start["url"].as_str().unwrap();
    let port = url.rsplit(':').next().unwrap();
    let output = serve_netboot(folder.path())
        .args([
            "--images",
            "dist",
            "--address",
            "127.0.0.1",
            "--no-dhcp",
            "--tftp-port",
            "0",
            "--http-port",
            port,
        ])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in [
        &format!("error: cannot listen on TCP port {port}, for HTTP: "),
        &format!("hint: `ss -ltnp 'sport = :{port}'`"),
        "--http-port",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn without_root_machines_are_served_on_other_ports() {
    let folder = folder();
    let arguments = ["--address", "127.0.0.1", "--no-dhcp", "--tftp-port", "0", "--http-port", "0"];
    let mut server = Server::start(folder.path(), None, &arguments);
    let text = |name: &str| server.start[name].as_str().unwrap().to_owned();
    let (url, tftp) = (text("url"), text("tftp"));
    assert_eq!(text("dhcp"), "none");
    let curl = |url: &str| Command::new("curl").args(["-sS", "--max-time", "30", url]).output().unwrap();
    let loader = curl(&format!("tftp://{tftp}/undionly.kpxe"));
    assert!(loader.stdout == b"ipxe/undionly.kpxe".repeat(5000), "{loader:?}");
    // Where iPXE looks for it: beside the loader. It is no step of a boot.
    for folder in [format!("tftp://{tftp}"), format!("{url}/files")] {
        let autoexec = curl(&format!("{folder}/autoexec.ipxe")).stdout;
        let autoexec = String::from_utf8_lossy(&autoexec);
        assert!(autoexec.contains(&format!(" && chain --replace {url}/ipxe?")), "{autoexec}");
    }
    let script = curl(&format!("{url}/ipxe?mac=52-54-00-12-34-56"));
    assert!(String::from_utf8_lossy(&script.stdout).starts_with("#!ipxe\nkernel "), "{script:?}");
    assert_eq!(server.event(), ("script".to_owned(), format!("live {STEM}.vmlinuz")));
    // The address is known now, so that the transfer is the machine's.
    assert!(curl(&format!("tftp://{tftp}/autoexec.ipxe")).status.success());
    assert!(curl(&format!("tftp://{tftp}/{STEM}.efi")).status.success());
    assert_eq!(server.event(), ("kernel".to_owned(), format!("{STEM}.efi")));
}

/// The output of a command that must succeed.
fn run_in(namespace: &OwnedFd, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments);
    namespace::run_in(&mut command, namespace);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

#[test]
#[ignore = "wants root: cargo verify wants"]
fn a_proxy_boots_machines_of_a_network() {
    let network = Network::create();
    let folder = folder();
    let mut server = Server::start(
        folder.path(),
        Some(&network.server),
        &["--address", SERVER, "--user-data", "user-data"],
    );
    assert_eq!(server.start["dhcp"], "proxy");
    let client = Client::open(&network, 68);
    for (class, architecture, user_class, expect) in [
        ("PXEClient:Arch:00000:UNDI:002001", 0, "", "undionly.kpxe".to_owned()),
        ("PXEClient:Arch:00007:UNDI:003016", 7, "", "snponly.efi".to_owned()),
        ("HTTPClient:Arch:00016:UNDI:003001", 16, "", format!("{URL}/files/snponly.efi")),
        ("PXEClient:Arch:00000:UNDI:002001", 0, "iPXE", format!("{URL}/boot.ipxe")),
    ] {
        let offer = client.ask(&client::request(MessageType::Discover, class, architecture, user_class));
        assert_eq!(offer.file, expect, "{class} {user_class}");
        assert_eq!(offer.message_type(), Some(MessageType::Offer));
        assert_eq!(offer.your_address, Ipv4Addr::UNSPECIFIED);
    }
    // Others get no answer; neither do packets of nonsense, which end nothing.
    client.send(b"nonsense");
    client.send(&[0xff; 600]);
    assert_eq!(client.ask_once(&client::request(MessageType::Discover, "", 0, "")), None);
    // The client has its address from the network's own server.
    let mut request = client::request(MessageType::Request, "", 0, "");
    request.options.insert(option::REQUESTED_ADDRESS, network.client_address.octets().into());
    request.options.insert(option::SERVER, vec![10, 9, 0, 2]);
    assert_eq!(client.ask_once(&request), None);
    network.configure_client();
    let boot = Client::open(&network, 4011);
    let mut request = client::request(MessageType::Request, "PXEClient:Arch:00007:UNDI:003016", 7, "");
    request.client_address = network.client_address;
    boot.send_to(&request.encode(), SocketAddrV4::new(SERVER.parse().unwrap(), 4011));
    let ack = boot.receive().unwrap();
    assert_eq!((ack.file.as_str(), ack.message_type()), ("snponly.efi", Some(MessageType::Ack)));
    let curl = |url: &str| run_in(&network.client, "curl", &["-sSf", "--max-time", "30", url]).stdout;
    for loader in [format!("tftp://{SERVER}/snponly.efi"), format!("{URL}/files/snponly.efi")] {
        assert!(curl(&loader) == b"ipxe/snponly.efi".repeat(5000), "{loader}");
    }
    let status: Value = serde_json::from_slice(&curl(&format!("{URL}/status.json"))).unwrap();
    assert_eq!(status["ignored"]["malformed"], 2, "{status}");
    let machine = &status["machines"][0];
    assert_eq!(machine["address"], network.client_address.to_string());
    assert_eq!(machine["uuid"], Value::Null);
    let mut events = Vec::new();
    while !matches!(events.last(), Some((stage, _)) if stage == "loader") {
        events.push(server.event());
    }
    let stages: Vec<_> = events.iter().map(|(stage, detail)| format!("{stage} {detail}")).collect();
    assert_eq!(stages, ["offer undionly.kpxe", "offer snponly.efi", "offer boot.ipxe", "loader snponly.efi"]);
}

#[test]
#[ignore = "wants root: cargo verify wants"]
fn a_lab_network_has_addresses_that_outlive_the_server() {
    let network = Network::create();
    let folder = folder();
    std::fs::write(
        folder.path().join("netboot.toml"),
        "[[rule]]\nmac = \"52:54:00:12:34:56\"\ninstall = \"once\"\n\n[[rule]]\nmatch = \"*\"\nboot = \"disk\"\n",
    )
    .unwrap();
    let arguments = ["--address", SERVER, "--dhcp", "10.9.0.50-10.9.0.60", "--rules", "netboot.toml"];
    let class = "PXEClient:Arch:00000:UNDI:002001";
    let lease = |client: &Client, expect_file: &str| {
        let offer = client.ask(&client::request(MessageType::Discover, class, 0, ""));
        assert_eq!(offer.file, expect_file);
        let mut request = client::request(MessageType::Request, class, 0, "");
        request.options.insert(option::REQUESTED_ADDRESS, offer.your_address.octets().into());
        request.options.insert(option::SERVER, vec![10, 9, 0, 1]);
        let ack = client.ask(&request);
        assert_eq!(ack.message_type(), Some(MessageType::Ack));
        assert_eq!(ack.options[&option::MASK], [255, 255, 255, 0]);
        ack.your_address
    };
    let client = Client::open(&network, 68);
    let first = {
        let _server = Server::start(folder.path(), Some(&network.server), &arguments);
        let first = lease(&client, "undionly.kpxe");
        network.configure_client();
        let url = format!("{URL}/installed?mac=52-54-00-12-34-56");
        run_in(&network.client, "curl", &["-sSf", "--max-time", "30", "-X", "POST", &url]);
        first
    };
    let _server = Server::start(folder.path(), Some(&network.server), &arguments);
    // The machine is installed: it has its address, and boots from its disk.
    assert_eq!(lease(&client, ""), first);
    let mut other = client::request(MessageType::Discover, class, 0, "");
    other.mac = "52:54:00:00:00:01".parse().unwrap();
    let offer = client.ask(&other);
    assert_ne!(offer.your_address, first);
    assert_eq!(offer.file, "");
}

/// The same packets, to dnsmasq with the printed settings, and to this server.
#[test]
#[ignore = "wants root and dnsmasq: cargo verify wants"]
fn dnsmasq_with_the_printed_settings_offers_the_same() {
    let network = Network::create();
    let folder = folder();
    let mut print = serve_netboot(folder.path());
    print.args(["--print-dnsmasq", "--ipxe", "ipxe", "--address", SERVER]);
    namespace::run_in(&mut print, &network.server);
    let printed = print.output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    std::fs::write(folder.path().join("dnsmasq.conf"), printed.stdout).unwrap();
    let ask_all = || {
        let client = Client::open(&network, 68);
        let kinds = [
            ("PXEClient:Arch:00000:UNDI:002001", 0, ""),
            ("PXEClient:Arch:00007:UNDI:003016", 7, ""),
            ("PXEClient:Arch:00009:UNDI:003016", 9, ""),
            ("PXEClient:Arch:00000:UNDI:002001", 0, "iPXE"),
            ("PXEClient:Arch:00011:UNDI:003016", 11, "iPXE"),
        ];
        kinds.map(|(class, architecture, user_class)| {
            let offer = client.ask(&client::request(MessageType::Discover, class, architecture, user_class));
            let class = String::from_utf8_lossy(&offer.options[&option::CLASS]).into_owned();
            (offer.file.clone(), offer.next_server, offer.your_address, class, offer.address(option::SERVER))
        })
    };
    let dnsmasq = {
        let mut command = Command::new("dnsmasq");
        command.args(["--no-daemon", "--conf-file=dnsmasq.conf", "--interface=k0", "--user=root"]);
        command.args(["--pid-file=", "--dhcp-leasefile=leases"]).current_dir(folder.path());
        command.stderr(Stdio::piped());
        namespace::run_in(&mut command, &network.server);
        let mut dnsmasq = Process(command.spawn().unwrap());
        let mut log = BufReader::new(dnsmasq.0.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("proxy on subnet") {
            assert!(log.read_line(&mut text).unwrap() > 0, "dnsmasq ended: {text}");
        }
        // Its socket is open before it prints its URL.
        ask_all()
    };
    let _server = Server::start(folder.path(), Some(&network.server), &["--address", SERVER]);
    assert_eq!(ask_all(), dnsmasq);
}
