//! A local mirror that can serve wrong files or none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use image::lock::Lock;

use crate::harness::{folder, harness};

/// Fault of the mirror for a package; other packages are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The same size with other content.
    WrongContent,
    Unavailable,
}

/// Starts a mirror and returns the environment of a build that uses no other.
pub fn only_mirror(lock: &Lock, faults: &[(&str, Fault)]) -> Vec<(&'static str, OsString)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let debs = harness().cache.join("keelson/debs");
    let served: BTreeMap<String, (PathBuf, Option<Fault>)> = lock
        .packages
        .iter()
        .map(|package| {
            let fault = faults.iter().find(|(name, _)| *name == package.name).map(|(_, fault)| *fault);
            (package.path.clone(), (debs.join(format!("{}.deb", package.sha256)), fault))
        })
        .collect();
    // The thread ends with the test process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let served = served.clone();
            thread::spawn(move || answer_all(stream, &served));
        }
    });
    environment(port)
}

/// The environment of a build whose only mirror does not respond.
pub fn closed_port() -> Vec<(&'static str, OsString)> {
    environment(loopback_port::reserve().unwrap().port())
}

/// Configures apt without the host's sources, proxies and other settings.
fn environment(port: u16) -> Vec<(&'static str, OsString)> {
    let config = folder().join("apt.conf");
    let text = "Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\n\
                Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"/dev/null\";\n\
                Acquire::Retries::Delay \"false\";\n";
    fs::write(&config, text).unwrap();
    let mirror = |name: &str| OsString::from(format!("http://127.0.0.1:{port}/{name}/"));
    vec![
        ("APT_CONFIG", config.into()),
        ("KEELSON_MIRROR", mirror("debian")),
        ("KEELSON_SECURITY_MIRROR", mirror("debian-security")),
    ]
}

/// Serves the requests of one connection until the client closes it.
fn answer_all(mut stream: TcpStream, served: &BTreeMap<String, (PathBuf, Option<Fault>)>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
        let target = request.split(' ').nth(1).unwrap_or_default();
        let path = target.split_once("/pool/").map(|(_, path)| unescaped(&format!("pool/{path}")));
        let found = path.and_then(|path| served.get(&path));
        let sent = match found {
            Some((file, None)) => send(&mut stream, "200 OK", &fs::read(file).unwrap()),
            Some((file, Some(Fault::WrongContent))) => {
                let mut content = fs::read(file).unwrap();
                let middle = content.len() / 2;
                content[middle] = !content[middle];
                send(&mut stream, "200 OK", &content)
            }
            Some((_, Some(Fault::Unavailable))) | None => send(&mut stream, "404 Not Found", b""),
        };
        if sent.is_err() {
            return;
        }
    }
}

fn send(stream: &mut TcpStream, status: &str, content: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", content.len())?;
    stream.write_all(content)
}

/// Decodes `%XX` once.
fn unescaped(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        text.push(char::from(u8::from_str_radix(digits, 16).unwrap()));
        text += rest;
    }
    text
}
