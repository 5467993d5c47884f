//! Ten thousand idle connections.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::site::{Client, Site, TIMEOUT};

const CONNECTIONS: usize = 10_000;
/// Open files of each process: its connections and a margin.
const FILES: u64 = CONNECTIONS as u64 + 200;
/// Memory of the server per connection before its first request: its task and tokio's socket state.
const BYTES_EACH: u64 = 2 << 10;
/// The listener holds a permit while it waits for a connection.
const WAITING: usize = 1;
/// Passes the server's address to the client process.
const SERVER: &str = "KEELSON_IDLE_SERVER";
/// A served connection releases its buffers after ten seconds; a head may take thirty.
const REST: Duration = Duration::from_secs(45);

#[test]
fn ten_thousand_idle_connections_are_kept_and_served() {
    stay("idle::ten_thousand_idle_connections_are_kept_and_served", &[Duration::from_secs(1)]);
}

#[test]
#[ignore = "a minute and a half: cargo verify --all soaks"]
fn soak_ten_thousand_idle_connections_are_kept_for_longer_than_any_deadline() {
    stay("idle::soak_ten_thousand_idle_connections", &[REST, REST]);
}

/// Keeps all connections idle for each of the intervals, and then sends a request on each.
fn stay(test: &str, intervals: &[Duration]) {
    if let Err(reason) = raise_file_limit() {
        eprintln!("SKIPPED: {test}: {reason}");
        return;
    }
    let site = Site::start();
    // The cost of the first connection is not counted.
    assert_eq!(site.get("/version").status, 200);
    wait_for(&site, 0);
    let before = resident();
    let mut clients = Clients::start(site.address);
    clients.read_until("open");
    wait_for(&site, CONNECTIONS);
    let each = resident().saturating_sub(before) / CONNECTIONS as u64;
    println!("{CONNECTIONS} idle connections: {each} bytes each");
    assert!(each <= BYTES_EACH, "{each} bytes for each connection");
    for interval in intervals {
        std::thread::sleep(*interval);
        assert_eq!(site.running.as_ref().unwrap().connections(), WAITING + CONNECTIONS, "some were closed");
        let asked = Instant::now();
        clients.send_request();
        clients.read_until(&format!("served {CONNECTIONS}"));
        let each = resident().saturating_sub(before) / CONNECTIONS as u64;
        println!("all served within {:?} after {interval:?}; {each} bytes each", asked.elapsed());
    }
    clients.end();
    wait_for(&site, 0);
}

/// Raises the limit of open files; returns why it cannot.
fn raise_file_limit() -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum });
    raised.map_err(|error| format!("needs {FILES} open files, the limit is {maximum:?}: {error}"))
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}

fn wait_for(site: &Site, connections: usize) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let open = site.running.as_ref().unwrap().connections();
        if open == WAITING + connections {
            return;
        }
        assert!(Instant::now() < deadline, "{open} connections, not {connections}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The clients, in their own process: many hosts do not allow one process enough files for both.
struct Clients {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Clients {
    fn start(server: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "idle::clients", "--nocapture"])
            .env(SERVER, server.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take(), child, output }
    }

    /// Reads up to this line.
    fn read_until(&mut self, expected: &str) {
        let line = self.output.by_ref().map(Result::unwrap).find(|line| line.ends_with(expected));
        assert!(line.is_some(), "the clients ended before `{expected}`");
    }

    fn send_request(&mut self) {
        writeln!(self.input.as_mut().unwrap(), "ask").unwrap();
    }

    fn end(mut self) {
        self.input = None;
        assert!(self.child.wait().unwrap().success(), "a client failed");
    }
}

#[test]
#[ignore = "started by the tests of idle connections"]
fn clients() {
    let server: SocketAddr = std::env::var(SERVER).expect(SERVER).parse().unwrap();
    let mut open: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(server).unwrap()).collect();
    println!("open");
    for line in std::io::stdin().lines() {
        assert_eq!(line.unwrap(), "ask");
        let served = open.iter_mut().filter(|stream| {
            stream.set_read_timeout(Some(TIMEOUT)).unwrap();
            let mut client = Client::over(&**stream);
            client.send("GET", "/version", &[], "");
            client.response_to("GET").status == 200
        });
        println!("served {}", served.count());
    }
}
