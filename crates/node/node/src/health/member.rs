//! Whether the member of the key-value store on this machine is healthy: it says so itself, at `/health`.
//!
//! Where it listens is not guessed from flags, files and environment, but taken from its process.

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
/// For all places together: one that hangs must not hold up the next round. Longer than the member itself takes to
/// find out that it has no majority.
const ANSWER: Duration = Duration::from_secs(8);
const ANSWER_MAX: u64 = 4096;
/// The state `LISTEN` in /proc/net/tcp.
const LISTEN: &str = "0A";
/// How a TLS alert begins: what a server of TLS answers to plain HTTP.
const ALERT: [u8; 2] = [0x15, 0x03];

/// What systemd says of the member's unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    pub name: String,
    pub active: String,
    pub enabled: bool,
    /// False where a condition of the unit said that it is not for this machine.
    pub meant: bool,
    /// 0 where none runs.
    pub pid: u32,
}

pub fn check(root: &Root, unit: Option<&Unit>) -> Check {
    let Some(unit) = unit else { return Check::new(NAME, State::Skipped, "no member on this machine") };
    let name = &unit.name;
    let failed = |why: String| Check::new(NAME, State::Failed, why);
    match unit.active.as_str() {
        "active" | "reloading" | "refreshing" => {}
        "activating" => return failed(format!("{name} is still starting: it is in no cluster yet")),
        "inactive" if !unit.enabled || !unit.meant => {
            return Check::new(NAME, State::Skipped, format!("{name} is not for this machine"));
        }
        "inactive" => return failed(format!("{name} is enabled, and does not run")),
        other => return failed(format!("{name} is {other}")),
    }
    let places = match listening(root, unit.pid) {
        Ok(places) => places,
        Err(error) => return failed(format!("where {name} listens cannot be read: {error}")),
    };
    let mut said = Vec::new();
    let deadline = Instant::now() + ANSWER;
    for place in &places {
        match get(*place, "/health", deadline, ANSWER_MAX).map(|bytes| answer(&bytes)) {
            Ok(Answer::Healthy) => {
                return Check::new(NAME, State::Passed, format!("{name} is healthy at {place}"));
            }
            Ok(Answer::Ill) => return failed(format!("{name} says at {place} that it is not healthy")),
            Ok(Answer::Tls) => said.push(format!("{place}: TLS")),
            Ok(Answer::Other(line)) => said.push(format!("{place}: {line}")),
            Err(error) if is_late(&error) => {
                said.push(format!("{place}: nothing in {} s", ANSWER.as_secs()));
                break;
            }
            Err(error) => said.push(format!("{place}: {error}")),
        }
    }
    if said.iter().any(|line| line.ends_with(": TLS")) {
        // It would want a certificate of ours; that it is in its cluster it has told systemd.
        return Check::new(NAME, State::Passed, format!("{name} is in its cluster (it speaks TLS only)"));
    }
    failed(format!("{name} does not answer /health ({})", said.join("; ")))
}

/// Why the member is in no cluster, where that is because too few of the other members can be reached.
pub fn without_majority(root: &Root, unit: &Unit) -> Option<String> {
    cluster::without_majority(&listening(root, unit.pid).ok()?)
}

/// Where the process listens; the loopback takes the place of "everywhere".
fn listening(root: &Root, pid: u32) -> io::Result<BTreeSet<SocketAddr>> {
    let mut own = BTreeSet::new();
    for entry in fs::read_dir(root.at(format!("/proc/{pid}/fd")))? {
        // A file that was closed in between.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        own.extend(inode.map(str::to_owned));
    }
    let mut places = BTreeSet::new();
    for file in ["tcp", "tcp6"] {
        // The process's own network, which need not be ours.
        let text = match fs::read_to_string(root.at(format!("/proc/{pid}/net/{file}"))) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = words.as_slice() else { continue };
            if own.contains(*inode) {
                places.extend(address(local));
            }
        }
    }
    Ok(places)
}

/// `0100007F:094B`: words of the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
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
enum Answer {
    Healthy,
    Ill,
    /// It wants to speak TLS.
    Tls,
    /// Somebody else: the first line.
    Other(String),
}

/// What a socket says whose time is over: the first one where it was reading.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn answer(bytes: &[u8]) -> Answer {
    if bytes.starts_with(&ALERT) {
        return Answer::Tls;
    }
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let word = |word: &str| {
        body.contains(&format!("\"health\": \"{word}\"")) || body.contains(&format!("\"health\":\"{word}\""))
    };
    if word("true") && head.split(' ').nth(1) == Some("200") {
        return Answer::Healthy;
    }
    if word("false") {
        return Answer::Ill;
    }
    Answer::Other(
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
        Unit { name: "etcd.service".into(), active: active.into(), enabled, meant: true, pid: PID }
    }

    /// A machine whose process 77 listens at these ports, each giving its answer to one who asks.
    fn machine(answers: &[&'static [u8]]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        fs::create_dir_all(root.at(format!("/proc/{PID}/fd"))).unwrap();
        fs::create_dir_all(root.at(format!("/proc/{PID}/net"))).unwrap();
        symlink("/dev/null", root.at(format!("/proc/{PID}/fd/0"))).unwrap();
        let mut table = HEAD.to_owned();
        for (at, answer) in answers.iter().copied().enumerate() {
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
                stream.write_all(answer).unwrap();
            });
        }
        // Not its own, and not listening: nobody is asked there.
        table += "   1: 0100007F:0001 00000000:0000 0A 0:0 0:0 0 0 0 999 1\n   2: 0100007F:0001 00000000:0000 01 0:0 0:0 0 0 0 500 1\n";
        fs::write(root.at(format!("/proc/{PID}/net/tcp")), table).unwrap();
        (folder, root)
    }

    fn asked(answers: &[&'static [u8]], state: State, why: &str) {
        let (_folder, root) = machine(answers);
        let check = check(&root, Some(&unit("active", true)));
        assert!(check.state == state && check.why.contains(why), "{check:?}");
    }

    const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"health\": \"true\"}";
    const ILL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\r\n{\"health\": \"false\"}\n";
    const PEER: &[u8] = b"HTTP/1.1 404 Not Found\r\n\r\n404 page not found\n";

    #[test]
    fn the_member_is_asked_where_its_process_listens() {
        asked(&[GOOD], State::Passed, "etcd.service is healthy at 127.0.0.1:");
        asked(&[ILL], State::Failed, "says at 127.0.0.1:");
        asked(&[PEER], State::Failed, "404 Not Found");
        asked(&[b"\x15\x03\x03\x00\x02\x02\x32"], State::Passed, "TLS only");
        asked(&[b""], State::Failed, "does not answer /health");
        asked(&[], State::Failed, "does not answer /health");
    }

    #[test]
    fn one_of_several_ports_is_the_clients() {
        asked(&[PEER, GOOD], State::Passed, "is healthy");
        asked(&[PEER, ILL], State::Failed, "not healthy");
        asked(&[b"\x15\x03\x03\x00\x02\x02\x32", ILL], State::Failed, "not healthy");
    }

    #[test]
    fn a_member_that_hangs_costs_its_time_once() {
        let (_folder, root) = machine(&[]);
        // Their connections are taken by the kernel, and read by nobody.
        let hung = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let mut table = HEAD.to_owned();
        for (at, listener) in hung.iter().enumerate() {
            let port = listener.local_addr().unwrap().port();
            symlink(format!("socket:[{}]", 500 + at), root.at(format!("/proc/{PID}/fd/{}", 1 + at))).unwrap();
            table += &format!("   0: 0100007F:{port:04X} 00000000:0000 0A 0:0 0:0 0 101 0 {} 1\n", 500 + at);
        }
        fs::write(root.at(format!("/proc/{PID}/net/tcp")), table).unwrap();
        let began = Instant::now();
        let check = check(&root, Some(&unit("active", true)));
        assert!(check.why.ends_with(": nothing in 8 s)"), "{check:?}");
        assert_eq!(check.why.matches("127.0.0.1").count(), 1, "{check:?}");
        assert!(began.elapsed() < 2 * ANSWER);
    }

    #[test]
    fn a_unit_that_does_not_run_is_judged_by_whether_it_should() {
        let root = Root::from(std::path::Path::new("/nowhere"));
        for (unit, state) in [
            (unit("activating", false), State::Failed),
            (unit("failed", false), State::Failed),
            (unit("inactive", true), State::Failed),
            (unit("inactive", false), State::Skipped),
            (Unit { meant: false, ..unit("inactive", true) }, State::Skipped),
            (unit("active", true), State::Failed),
        ] {
            let check = check(&root, Some(&unit));
            assert_eq!(check.state, state, "{unit:?} {check:?}");
        }
        assert_eq!(check(&root, None).state, State::Skipped);
    }

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        for (text, expected) in [
            ("0100007F:094B", Some("127.0.0.1:2379")),
            ("00000000:0FA1", Some("127.0.0.1:4001")),
            ("00000000000000000000000000000000:0FA1", Some("[::1]:4001")),
            ("0B004D0A:094B", Some("10.77.0.11:2379")),
            ("0B004D:094B", None),
            ("0B004D0A", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
