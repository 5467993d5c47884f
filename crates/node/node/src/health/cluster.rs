//! Whether enough of the cluster's members can be reached for a majority. A machine that is up before its neighbours, as
//! after a power cut, is in no cluster through no fault of its version.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::http::get;

/// For all members together, their names' resolution too.
const LIMIT: Duration = Duration::from_secs(5);
const MEMBERS_MAX: u64 = 64 << 10;

/// As the peer port of etcd lists them, also without a majority.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default, rename = "peerURLs")]
    peer_urls: Vec<String>,
}

/// Why there is no majority, where too few members accept connections. `places`: the addresses that this machine's member
/// listens at. None where they do not list the members: by TLS, or because the member does not run.
pub fn without_majority(places: &BTreeSet<SocketAddr>) -> Option<String> {
    let members = places.iter().find_map(listed)?;
    let (sender, answers) = mpsc::channel();
    for (number, member) in members.iter().enumerate() {
        let (urls, sender) = (member.peer_urls.clone(), sender.clone());
        // Resolving a name has no time limit: a thread that is late is not waited for.
        std::thread::spawn(move || sender.send((number, urls.iter().any(|url| accepts(url)))));
    }
    drop(sender);
    let deadline = Instant::now() + LIMIT;
    let mut reached = BTreeSet::new();
    while let Ok((number, accepts)) = answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        reached.extend(accepts.then_some(number));
    }
    if reached.len() > members.len() / 2 {
        return None;
    }
    let away = members.iter().enumerate().filter(|(number, _)| !reached.contains(number));
    let away: Vec<_> = away.map(|(_, member)| member.peer_urls.join(" ")).collect();
    Some(format!(
        "no majority: {} of the cluster's {} members accept no connections: {}",
        away.len(),
        members.len(),
        away.join(", ")
    ))
}

fn listed(place: &SocketAddr) -> Option<Vec<Listed>> {
    let answer = get(*place, "/members", Instant::now() + LIMIT, MEMBERS_MAX).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let members: Vec<Listed> = serde_json::from_str(body).ok()?;
    (head.split(' ').nth(1) == Some("200") && !members.is_empty()).then_some(members)
}

fn accepts(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Ok(addresses) = rest.trim_end_matches('/').to_socket_addrs() else { return false };
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, LIMIT).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A peer port that lists members: itself, `up` others that accept connections, and `away` that do not.
    fn judged(up: usize, away: usize) -> Option<String> {
        let own = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = own.local_addr().unwrap();
        let mut others: Vec<_> = (0..up + away).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
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
        others.truncate(up);
        without_majority(&BTreeSet::from([place]))
    }

    #[test]
    fn a_majority_is_missed_where_too_few_accept_connections() {
        assert_eq!(judged(0, 0), None, "a member alone");
        assert_eq!(judged(2, 0), None);
        assert_eq!(judged(1, 1), None);
        let why = judged(0, 2).unwrap();
        assert!(
            why.starts_with("no majority: 2 of the cluster's 3 members accept no connections: http://127"),
            "{why}"
        );
        assert!(judged(1, 3).unwrap().starts_with("no majority: 3 of the cluster's 5"));
    }

    #[test]
    fn who_lists_no_members_is_not_excused() {
        assert_eq!(without_majority(&BTreeSet::new()), None);
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = port.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = port.accept().unwrap();
            stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n[]").unwrap();
        });
        assert_eq!(without_majority(&BTreeSet::from([place])), None);
    }
}
