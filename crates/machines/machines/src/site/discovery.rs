//! The cluster's etcd discovery service on this host. Nodes get the discovery URL as the default of their `etcd`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Instant;

use super::{Site, SiteError};
use crate::backend::free_port;
use crate::cluster::{Discovery, HOST_NAME};
use crate::limits;
use crate::process::{Process, last_line};

const RESPONSE_MAX: u64 = 1 << 16;

impl Site {
    /// Uses an external discovery URL; no service is started.
    pub fn set_discovery(&self, url: &str) -> Result<(), SiteError> {
        let mut state = self.state();
        state.discovery = Some(Discovery { url: url.to_owned(), port: 0, process: None });
        Ok(self.layout.save(&state)?)
    }

    /// Starts the service unless it runs. Keeps the URL: the members' ids are derived from it.
    pub(super) fn ensure_discovery(&self) -> Result<(), SiteError> {
        let known = self.state().discovery.clone();
        let runs =
            |discovery: &Discovery| discovery.port == 0 || discovery.process.is_some_and(Process::alive);
        if known.as_ref().is_some_and(runs) {
            return Ok(());
        }
        let wanted = known.as_ref().map_or(0, |discovery| discovery.port);
        let port = free_port(wanted).map_err(SiteError::Port)?;
        let process = self.start_discovery(port)?;
        let url = match known {
            Some(discovery) if discovery.port == port => discovery.url,
            // Another program has the port now. The token stays if the members have met, since added members find
            // them by it; otherwise a new token is created.
            Some(discovery) if has_all_members(token_of(&discovery.url), port) => {
                url_of(port, token_of(&discovery.url))
            }
            _ => self.new_token(port)?,
        };
        self.state().discovery = Some(Discovery { url, port, process: Some(process) });
        self.expose_host_port(port)
    }

    fn start_discovery(&self, port: u16) -> Result<Process, SiteError> {
        let folder = self.layout.discovery();
        std::fs::create_dir_all(&folder)
            .map_err(|source| SiteError::Write { path: folder.clone(), source })?;
        let log = folder.join("log");
        let mut command = Command::new(&self.background.program);
        command.args(&self.background.discovery).arg(&folder).arg(port.to_string());
        let process = Process::spawn(command, &log)?;
        let deadline = Instant::now() + limits::BACKGROUND_START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if !process.alive() || Instant::now() > deadline {
                process.kill()?;
                return Err(SiteError::Discovery { message: last_line(&log), log });
            }
            // Opening a listening socket sends no event to other processes; it takes milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Ok(process)
    }

    /// Creates a token and returns its URL as nodes reach it.
    fn new_token(&self, port: u16) -> Result<String, SiteError> {
        let size = self.state().nodes.len();
        let log = self.layout.discovery().join("log");
        let response = get(port, &format!("/new?size={size}"))
            .map_err(|error| SiteError::Discovery { message: error.to_string(), log: log.clone() })?;
        let token = token_of(response.trim());
        let good = token.len() == 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !good {
            return Err(SiteError::Discovery { message: format!("invalid token {token:?}"), log });
        }
        Ok(url_of(port, token))
    }
}

/// Whether as many members have registered as the token is for. False if the service does not know the token.
fn has_all_members(token: &str, port: u16) -> bool {
    let responses = get(port, &format!("/{token}")).and_then(|members| {
        let size = get(port, &format!("/{token}/_config/size"))?;
        Ok((members, size))
    });
    responses.is_ok_and(|(members, size)| is_full(&members, &size))
}

fn url_of(port: u16, token: &str) -> String {
    format!("http://{HOST_NAME}:{port}/{token}")
}

/// The last segment of the URL.
fn token_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// `members` and `size` are responses of the service in the format of etcd's keys API.
fn is_full(members: &str, size: &str) -> bool {
    let node = |response: &str| {
        serde_json::from_str::<serde_json::Value>(response).unwrap_or_default()["node"].take()
    };
    let size = node(size)["value"].as_str().and_then(|size| size.parse().ok());
    let members = node(members)["nodes"].as_array().map(Vec::len);
    members.zip(size).is_some_and(|(members, size): (usize, usize)| members >= size)
}

fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(limits::BACKGROUND_START))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {HOST_NAME}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(RESPONSE_MAX).read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!(
            "unexpected response {:?}",
            head.lines().next().unwrap_or_default()
        )));
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_met_where_as_many_registered_as_the_token_is_for() {
        let size = r#"{"action":"get","node":{"key":"/_etcd/registry/t/_config/size","value":"2"}}"#;
        let members = |members: &str| {
            format!(
                r#"{{"action":"get","node":{{"key":"/_etcd/registry/t","dir":true,"nodes":[{members}]}}}}"#
            )
        };
        assert!(is_full(&members(r#"{"key":"a"},{"key":"b"}"#), size));
        assert!(!is_full(&members(r#"{"key":"a"}"#), size));
        assert!(!is_full(r#"{"action":"get","node":{"key":"/_etcd/registry/t","dir":true}}"#, size));
        assert!(!is_full(r#"{"errorCode":100}"#, r#"{"errorCode":100}"#));
    }

    #[test]
    fn a_token_keeps_its_name_at_another_port() {
        let url = url_of(4000, "0123");
        assert_eq!(url_of(4001, token_of(&url)), url.replace("4000", "4001"));
    }
}
