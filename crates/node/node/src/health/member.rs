//! Whether the local etcd member is healthy, by its `/health` endpoint.
//!
//! The listen addresses are read from its process, not derived from flags, files and environment.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::check::{Check, State};
use super::cluster;
use super::http::get;
use crate::root::Root;

pub const NAME: &str = "kv";
/// For all addresses together, so that a hanging member does not delay the next round. Longer than the member
/// needs to detect a missing majority.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);
const MAX_RESPONSE_BYTES: u64 = 4096;
/// The state `LISTEN` in /proc/net/tcp.
const LISTEN: &str = "0A";
/// The first bytes of a TLS alert, the response of a TLS server to plain HTTP.
const TLS_ALERT: [u8; 2] = [0x15, 0x03];

/// The member's unit as reported by systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    pub active: String,
    pub enabled: bool,
    /// False if a condition of the unit failed: it is not meant for this machine.
    pub condition_met: bool,
    /// 0 if it does not run.
    pub pid: u32,
}

pub fn check(root: &Root, unit: Option<&Unit>) -> Check {
    let Some(unit) = unit else { return Check::new(NAME, State::Skipped, "no etcd member on this machine") };
    let name = &unit.name;
    let failed = |reason: String| Check::new(NAME, State::Failed, reason);
    match unit.active.as_str() {
        "active" | "reloading" | "refreshing" => {}
        "activating" => return failed(format!("{name} is still starting: it has not joined a cluster")),
        "inactive" if !unit.enabled || !unit.condition_met => {
            return Check::new(
                NAME,
                State::Skipped,
                format!("{name} is not enabled, or a condition is not met"),
            );
        }
        "inactive" => return failed(format!("{name} is enabled, but not running")),
        other => return failed(format!("{name} is {other}")),
    }
    let addresses = match listening_addresses(root, unit.pid) {
        Ok(addresses) => addresses,
        Err(error) => return failed(format!("cannot determine the listen addresses of {name}: {error}")),
    };
    let mut failures = Vec::new();
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    for address in &addresses {
        match get(*address, "/health", deadline, MAX_RESPONSE_BYTES).map(|bytes| parse_response(&bytes)) {
            Ok(HealthResponse::Healthy) => {
                return Check::new(NAME, State::Passed, format!("{name} is healthy at {address}"));
            }
            Ok(HealthResponse::Unhealthy) => {
                return failed(format!("{name} reports at {address} that it is not healthy"));
            }
            Ok(HealthResponse::Tls) => failures.push(format!("{address}: TLS")),
            Ok(HealthResponse::Other(line)) => failures.push(format!("{address}: {line}")),
            Err(error) if is_timeout(&error) => {
                failures.push(format!("{address}: no response in {} s", RESPONSE_TIMEOUT.as_secs()));
                break;
            }
            Err(error) => failures.push(format!("{address}: {error}")),
        }
    }
    if failures.iter().any(|line| line.ends_with(": TLS")) {
        // It requires a client certificate. It reported to systemd that it is in its cluster.
        return Check::new(
            NAME,
            State::Passed,
            format!("{name} has joined its cluster (health not checked: TLS only)"),
        );
    }
    failed(format!("{name} does not respond to /health ({})", failures.join("; ")))
}

/// Why the member is in no cluster, if too few other members are reachable.
pub fn missing_majority(root: &Root, unit: &Unit) -> Option<String> {
    cluster::missing_majority(&listening_addresses(root, unit.pid).ok()?)
}

/// The listen addresses of the process, with wildcard addresses replaced by loopback.
fn listening_addresses(root: &Root, pid: u32) -> io::Result<BTreeSet<SocketAddr>> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(root.at(format!("/proc/{pid}/fd")))? {
        // The descriptor may have been closed meanwhile.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    let mut addresses = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        // In the network namespace of the process.
        let text = match fs::read_to_string(root.at(format!("/proc/{pid}/net/{file}"))) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields.as_slice() else { continue };
            if sockets.contains(*inode) {
                addresses.extend(parse_address(local));
            }
        }
    }
    Ok(addresses)
}

/// `0100007F:094B`: 32-bit words in native byte order.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for at in (0..host.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(host.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let host: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    let host = match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    Some(SocketAddr::new(host, port))
}

#[derive(Debug, PartialEq, Eq)]
enum HealthResponse {
    Healthy,
    Unhealthy,
    /// It expects TLS.
    Tls,
    /// Another service: the first line of its response.
    Other(String),
}

/// The errors of socket timeouts, which differ between connect and read.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn parse_response(bytes: &[u8]) -> HealthResponse {
    if bytes.starts_with(&TLS_ALERT) {
        return HealthResponse::Tls;
    }
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let is_health = |value: &str| {
        body.contains(&format!("\"health\": \"{value}\""))
            || body.contains(&format!("\"health\":\"{value}\""))
    };
    if is_health("true") && head.split(' ').nth(1) == Some("200") {
        return HealthResponse::Healthy;
    }
    if is_health("false") {
        return HealthResponse::Unhealthy;
    }
    HealthResponse::Other(
        head.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect(),
    )
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;

    use super::*;

    const PID: u32 = 77;
    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn unit(active: &str, enabled: bool) -> Unit {
        Unit { name: "etcd.service".into(), active: active.into(), enabled, condition_met: true, pid: PID }
    }

    /// A machine whose process 77 listens on a port for each of these responses.
    fn machine(responses: &[&'static [u8]]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(format!("/proc/{PID}/fd"))).unwrap();
        fs::create_dir_all(root.at(format!("/proc/{PID}/net"))).unwrap();
        symlink("/dev/null", root.at(format!("/proc/{PID}/fd/0"))).unwrap();
        let mut table = HEAD.to_owned();
        for (at, response) in responses.iter().copied().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            symlink(format!("socket:[{}]", 500 + at), root.at(format!("/proc/{PID}/fd/{}", 1 + at))).unwrap();
            let inode = 500 + at;
            table += &format!(
                "   0: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  101  0 {inode} 1 0 100\n"
            );
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
                stream.write_all(response).unwrap();
            });
        }
        // Another process's socket and a connected one: neither is queried.
        table += "   1: 0100007F:0001 00000000:0000 0A 0:0 0:0 0 0 0 999 1\n   2: 0100007F:0001 00000000:0000 01 0:0 0:0 0 0 0 500 1\n";
        fs::write(root.at(format!("/proc/{PID}/net/tcp")), table).unwrap();
        (folder, root)
    }

    fn check_responses(responses: &[&'static [u8]], state: State, reason: &str) {
        let (_folder, root) = machine(responses);
        let check = check(&root, Some(&unit("active", true)));
        assert!(check.state == state && check.reason.contains(reason), "{check:?}");
    }

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"health\": \"true\"}";
    const UNHEALTHY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"health\": \"false\"}\n";
    const PEER: &[u8] = b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found\n";

    #[test]
    fn member_is_queried_where_its_process_listens() {
        check_responses(&[GOOD], State::Passed, "etcd.service is healthy at 127.0.0.1:");
        check_responses(&[UNHEALTHY], State::Failed, "reports at 127.0.0.1:");
        check_responses(&[PEER], State::Failed, "404 Not Found");
        check_responses(&[b"\x15\x03\x03\x00\x02\x02\x32"], State::Passed, "TLS only");
        check_responses(&[b""], State::Failed, "does not respond to /health");
        check_responses(&[], State::Failed, "does not respond to /health");
    }

    #[test]
    fn client_port_is_found_among_several() {
        check_responses(&[PEER, GOOD], State::Passed, "is healthy");
        check_responses(&[PEER, UNHEALTHY], State::Failed, "not healthy");
        check_responses(&[b"\x15\x03\x03\x00\x02\x02\x32", UNHEALTHY], State::Failed, "not healthy");
    }

    #[test]
    fn hanging_member_times_out_once() {
        let (_folder, root) = machine(&[]);
        // The kernel accepts their connections, but nothing reads them.
        let listeners =
            [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let mut table = HEAD.to_owned();
        for (at, listener) in listeners.iter().enumerate() {
            let port = listener.local_addr().unwrap().port();
            symlink(format!("socket:[{}]", 500 + at), root.at(format!("/proc/{PID}/fd/{}", 1 + at))).unwrap();
            table += &format!("   0: 0100007F:{port:04X} 00000000:0000 0A 0:0 0:0 0 101 0 {} 1\n", 500 + at);
        }
        fs::write(root.at(format!("/proc/{PID}/net/tcp")), table).unwrap();
        let started = Instant::now();
        let check = check(&root, Some(&unit("active", true)));
        assert!(check.reason.ends_with(": no response in 8 s)"), "{check:?}");
        assert_eq!(check.reason.matches("127.0.0.1").count(), 1, "{check:?}");
        assert!(started.elapsed() < 2 * RESPONSE_TIMEOUT);
    }

    #[test]
    fn inactive_unit_fails_only_if_enabled() {
        let root = Root::from(std::path::Path::new("/nowhere"));
        for (unit, state) in [
            (unit("activating", false), State::Failed),
            (unit("failed", false), State::Failed),
            (unit("inactive", true), State::Failed),
            (unit("inactive", false), State::Skipped),
            (Unit { condition_met: false, ..unit("inactive", true) }, State::Skipped),
            (unit("active", true), State::Failed),
        ] {
            let check = check(&root, Some(&unit));
            assert_eq!(check.state, state, "{unit:?} {check:?}");
        }
        assert_eq!(check(&root, None).state, State::Skipped);
    }

    #[test]
    fn kernel_addresses_are_parsed() {
        for (text, expected) in [
            ("0100007F:094B", Some("127.0.0.1:2379")),
            ("00000000:0FA1", Some("127.0.0.1:4001")),
            ("00000000000000000000000000000000:0FA1", Some("[::1]:4001")),
            ("0B004D0A:094B", Some("10.77.0.11:2379")),
            ("0B004D:094B", None),
            ("0B004D0A", None),
        ] {
            assert_eq!(parse_address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
