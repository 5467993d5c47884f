//! Whether a majority of etcd members is reachable. A machine that boots before its peers, as after a power
//! outage, cannot join the cluster; that is no fault of its version.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::http::get;

/// For all members together, name resolution included.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_MEMBERS_BYTES: u64 = 64 << 10;

/// An entry of the peer port's member list, which is available without a majority.
#[derive(Debug, Deserialize)]
struct MemberInfo {
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
}

/// The reason why there is no majority: too few members accept connections. `addresses` are those that the
/// local member listens on. `None` if none of them lists members: with TLS, or if the member does not run.
pub fn missing_majority(addresses: &BTreeSet<SocketAddr>) -> Option<String> {
    let members = addresses.iter().find_map(list_members)?;
    let (sender, results) = mpsc::channel();
    for (number, member) in members.iter().enumerate() {
        let (urls, sender) = (member.peer_urls.clone(), sender.clone());
        // Name resolution has no timeout: a late thread is abandoned.
        std::thread::spawn(move || sender.send((number, urls.iter().any(|url| accepts(url)))));
    }
    drop(sender);
    let deadline = Instant::now() + TIMEOUT;
    let mut reached = BTreeSet::new();
    while let Ok((number, accepts)) = results.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        reached.extend(accepts.then_some(number));
    }
    if reached.len() > members.len() / 2 {
        return None;
    }
    let unreachable = members.iter().enumerate().filter(|(number, _)| !reached.contains(number));
    let unreachable: Vec<_> = unreachable.map(|(_, member)| member.peer_urls.join(" ")).collect();
    Some(format!(
        "no majority: {} of the cluster's {} members accept no connections: {}",
        unreachable.len(),
        members.len(),
        unreachable.join(", ")
    ))
}

fn list_members(address: &SocketAddr) -> Option<Vec<MemberInfo>> {
    let response = get(*address, "/members", Instant::now() + TIMEOUT, MAX_MEMBERS_BYTES).ok()?;
    let response = String::from_utf8(response).ok()?;
    let (head, body) = response.split_once("\r\n\r\n")?;
    let members: Vec<MemberInfo> = serde_json::from_str(body).ok()?;
    (head.split(' ').nth(1) == Some("200") && !members.is_empty()).then_some(members)
}

fn accepts(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Ok(addresses) = rest.trim_end_matches('/').to_socket_addrs() else { return false };
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, TIMEOUT).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A peer port that lists itself, `reachable` peers that accept connections, and `unreachable` that do not.
    fn majority_of(reachable: usize, unreachable: usize) -> Option<String> {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = own.local_addr().unwrap();
        let mut others: Vec<_> =
            (0..reachable + unreachable).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let all = std::iter::once(&own).chain(&others);
        let rows: Vec<_> = all
            .map(|one| format!(r#"{{"id":1,"peerURLs":["{}"],"name":"x","clientURLs":[]}}"#, url(one)))
            .collect();
        let body = format!("[{}]\n", rows.join(","));
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = own.accept() {
                let mut request = [0; 512];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).unwrap();
                }
            }
        });
        others.truncate(reachable);
        missing_majority(&BTreeSet::from([address]))
    }

    #[test]
    fn missing_majority_is_detected() {
        assert_eq!(majority_of(0, 0), None, "a member alone");
        assert_eq!(majority_of(2, 0), None);
        assert_eq!(majority_of(1, 1), None);
        let reason = majority_of(0, 2).unwrap();
        assert!(
            reason.starts_with("no majority: 2 of the cluster's 3 members accept no connections: http://127"),
            "{reason}"
        );
        assert!(majority_of(1, 3).unwrap().starts_with("no majority: 3 of the cluster's 5"));
    }

    #[test]
    fn unlisted_members_are_no_excuse() {
        assert_eq!(missing_majority(&BTreeSet::new()), None);
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = port.accept().unwrap();
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n[]").unwrap();
        });
        assert_eq!(missing_majority(&BTreeSet::from([address])), None);
    }
}
