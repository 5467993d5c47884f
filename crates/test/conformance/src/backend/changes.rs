//! Membership changes, data loss and inspection of a cluster's members.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::{Cluster, Member, free_addresses, log_path};
use crate::failure::Failure;
use crate::http::{self, Request};

/// A membership change waits for a majority and for raft to apply it.
const CHANGE_LIMIT: Duration = Duration::from_secs(20);
const TRY_LIMIT: Duration = Duration::from_secs(8);
const POLL: Duration = Duration::from_millis(20);

impl Cluster {
    /// The data folder of member `number`.
    pub fn data(&self, number: usize) -> PathBuf {
        self.folder.path().join(&self.members[number].name)
    }

    /// The log output of member `number` so far.
    pub fn log(&self, number: usize) -> String {
        fs::read_to_string(log_path(self.folder.path(), &self.members[number].name)).unwrap_or_default()
    }

    /// Deletes all data of a stopped member.
    pub fn wipe(&self, number: usize) -> Result<(), Failure> {
        fs::remove_dir_all(self.data(number)).map_err(Failure::io("empty a member's disk"))
    }

    /// Waits until member `number` exits.
    pub fn wait_for_end(&mut self, number: usize, limit: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = match &mut self.members[number].process {
                Some(process) => process.try_wait().map_err(Failure::io("wait for a member's end"))?,
                None => return Err(Failure::differs("the member was not started")),
            };
            if let Some(status) = ended {
                self.members[number].process = None;
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(self.server_failure(&format!("(member {}) goes on running", number + 1)));
            }
            thread::sleep(POLL);
        }
    }

    /// Adds a member through member `through`, starts it, and returns its number.
    pub fn add(&mut self, through: usize) -> Result<usize, Failure> {
        let ports = free_addresses(2)?;
        let number = self.members.len();
        let mut member = Member::new(number, ports[0], ports[1]);
        let body = format!(r#"{{"peerURLs":["http://{}"]}}"#, member.peer);
        let mut request = Request::new("POST", "/v2/members");
        request.headers.push(("Content-Type".into(), "application/json".into()));
        request.body = Some(body.into_bytes());
        self.change(through, &request, &[201, 409])?;
        member.joins = true;
        self.members.push(member);
        self.run(number)?;
        Ok(number)
    }

    /// Removes member `number` through member `through`. Its process keeps running.
    pub fn remove(&mut self, through: usize, number: usize) -> Result<(), Failure> {
        let id = self.id(through, number)?;
        self.members[number].removed = true;
        // 410: an earlier attempt succeeded, and its response was lost.
        self.change(through, &Request::new("DELETE", format!("/v2/members/{id}")), &[204, 410])
    }

    fn change(&self, through: usize, request: &Request, accepted: &[u16]) -> Result<(), Failure> {
        let deadline = Instant::now() + CHANGE_LIMIT;
        let address = self.addresses()[through];
        loop {
            let failure = match http::exchange(address, request, TRY_LIMIT) {
                Ok(response) if accepted.contains(&response.status) => return Ok(()),
                Ok(response) => format!("{} {}", response.status, response.text()),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                return Err(self.server_failure(&format!("does not change its members: {failure}")));
            }
            thread::sleep(POLL);
        }
    }

    fn id(&self, through: usize, number: usize) -> Result<String, Failure> {
        let response =
            http::exchange(self.addresses()[through], &Request::new("GET", "/v2/members"), TRY_LIMIT);
        let response =
            response.map_err(|source| Failure::Http { request: "GET /v2/members".into(), source })?;
        let all: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let url = format!("http://{}", self.members[number].peer);
        let has_url = |member: &&Value| {
            member["peerURLs"].as_array().is_some_and(|urls| urls.iter().any(|one| *one == *url))
        };
        let found = all["members"].as_array().into_iter().flatten().find(has_url);
        let id = found.and_then(|member| member["id"].as_str());
        id.map(str::to_owned)
            .ok_or_else(|| Failure::differs(format!("no member has {url}: {}", response.text())))
    }

    /// Client addresses of members whose process was started and not killed.
    pub fn running_addresses(&self) -> Vec<SocketAddr> {
        let all = self.addresses().into_iter().zip(&self.members);
        all.filter(|(_, member)| member.process.is_some() && !member.removed)
            .map(|(address, _)| address)
            .collect()
    }
}
