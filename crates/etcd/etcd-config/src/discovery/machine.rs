//! The discovery state machine: size, list, register, wait for own key, list, wait for others.

use std::time::Duration;

use super::address::DiscoveryUrl;
use etcd_api::client::{self, Node};

use super::error::DiscoveryError;
use super::response::{HttpResponse, Parsed, last_segment, parse, value};
use crate::config::hide_password;
use crate::ids::Id;
use crate::initial_cluster::InitialCluster;
use crate::limits::{
    DISCOVERY_FIRST_RETRY, DISCOVERY_LONGEST_RETRY, DISCOVERY_REQUEST_TIMEOUT, DISCOVERY_TRIES, MAX_MEMBERS,
};
use crate::url::Url;

const KEY_NOT_FOUND: u32 = 100;
const KEY_EXISTS: u32 = 105;
const HISTORY_CLEARED: u32 = 401;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Response(HttpResponse),
    /// The request failed.
    Failed(Failure),
    /// The wait has elapsed.
    TimerExpired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    TimedOut,
    Connection(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Send(Request),
    Wait(Duration),
    Log(String),
    /// `name=url,...`, the initial cluster.
    Done(String),
    /// The registered members: for a proxy, and for a member's fallback.
    Full(String),
    Failed(DiscoveryError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The form's `value`, not encoded.
    pub value: Option<String>,
    /// `None` for watches.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
}

/// The registration of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub id: Id,
    pub name: String,
    pub peer_urls: Vec<Url>,
}

impl Registration {
    fn value(&self) -> String {
        self.peer_urls.iter().map(|url| format!("{}={url}", self.name)).collect::<Vec<_>>().join(",")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Size,
    List,
    Register,
    WaitForSelf,
    WaitForOthers,
    /// A request failed; this step is repeated after the wait.
    Retry(RetryStep),
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RetryStep {
    Size,
    Register,
    WaitForSelf,
}

pub struct Discovery {
    url: DiscoveryUrl,
    own: Option<Registration>,
    step: Step,
    size: usize,
    /// Registrations in order of creation.
    members: Vec<Node>,
    /// Created index of the own registration, once known.
    registered: Option<u64>,
    /// A registration request failed and may have been executed.
    may_be_registered: bool,
    /// The next index to watch from.
    next: u64,
    /// Consecutive failures, for the backoff.
    failures: u32,
}

impl Discovery {
    /// Without a registration, as for proxies, the machine only reads.
    pub fn new(url: DiscoveryUrl, own: Option<Registration>) -> Self {
        Self {
            url,
            own,
            step: Step::Size,
            size: 0,
            members: Vec::new(),
            registered: None,
            may_be_registered: false,
            next: 0,
            failures: 0,
        }
    }

    pub fn start(&mut self) -> Vec<Command> {
        self.get_size()
    }

    /// Handles an event. An event that does not match the step is ignored.
    pub fn step(&mut self, event: Event) -> Vec<Command> {
        match (self.step, event) {
            (Step::Finished, _) => Vec::new(),
            (Step::Retry(step), Event::TimerExpired) => match step {
                RetryStep::Size => self.get_size(),
                RetryStep::Register => self.register(),
                RetryStep::WaitForSelf => self.wait_for_self(),
            },
            (Step::Retry(_), _) | (_, Event::TimerExpired) => Vec::new(),
            (step, Event::Failed(failure)) => self.handle_failure(step, &failure),
            (step, Event::Response(response)) => match (parse(&response), step) {
                (Parsed::Unavailable(status), _) => {
                    self.handle_failure(step, &Failure::Connection(format!("the service answered {status}")))
                }
                (Parsed::NotJson, _) => self.finish(DiscoveryError::BadEndpoint),
                (Parsed::Empty, Step::WaitForOthers) => self.wait_for_others(),
                (Parsed::Empty, Step::WaitForSelf) => self.wait_for_self(),
                (Parsed::Empty, _) => self.finish(DiscoveryError::BadEndpoint),
                (Parsed::Refused(error), _) => self.handle_error(step, &error),
                (Parsed::Changed { action, node }, _) => {
                    self.handle_event(step, &action, node, response.index)
                }
            },
        }
    }

    fn handle_event(&mut self, step: Step, action: &str, node: Node, index: Option<u64>) -> Vec<Command> {
        match step {
            Step::Size => match value(&node).trim().parse() {
                Ok(size) if (1..=MAX_MEMBERS).contains(&size) => {
                    self.size = size;
                    self.get_list()
                }
                _ => self.finish(DiscoveryError::BadSize),
            },
            Step::List => self.handle_list(node, index.unwrap_or_default()),
            Step::Register => {
                self.failures = 0;
                self.registered = Some(node.created_index);
                self.wait_for_self()
            }
            Step::WaitForSelf => {
                // The own key is visible; list again.
                self.failures = 0;
                self.get_size()
            }
            Step::WaitForOthers => self.changed(action, node),
            Step::Retry(_) | Step::Finished => Vec::new(),
        }
    }

    fn handle_error(&mut self, step: Step, error: &client::Error) -> Vec<Command> {
        match (step, error.error_code) {
            (Step::Size, KEY_NOT_FOUND) => self.finish(DiscoveryError::NoSize),
            // An earlier attempt whose response was lost: the key was not in the list before.
            (Step::Register, KEY_EXISTS) if self.may_be_registered => {
                self.registered = Some(0);
                self.get_size()
            }
            (Step::Register, KEY_EXISTS) => self.finish(DiscoveryError::DuplicateId),
            // The history was cleared meanwhile; list again.
            (Step::WaitForOthers | Step::WaitForSelf, HISTORY_CLEARED) => self.get_size(),
            _ => self.finish(DiscoveryError::Refused(error.to_string())),
        }
    }

    /// Handles a list of registrations: whether the cluster is full, and whether this member is in it.
    fn handle_list(&mut self, node: Node, index: u64) -> Vec<Command> {
        self.failures = 0;
        let mut members: Vec<_> =
            node.nodes.into_iter().filter(|member| last_segment(member) != "_config").collect();
        members.sort_by_key(|member| member.created_index);
        let position = members.iter().position(|member| self.is_self(member));
        if members.len() >= self.size && position.is_none_or(|position| position >= self.size) {
            members.truncate(self.size);
            self.members = members;
            self.step = Step::Finished;
            let Ok(cluster) = self.cluster() else { return vec![Command::Failed(DiscoveryError::Full)] };
            return vec![if self.own.is_some() { Command::Full(cluster) } else { Command::Done(cluster) }];
        }
        if self.own.is_some() && self.registered.is_none() {
            return self.register();
        }
        members.truncate(self.size);
        self.members = members;
        self.next = index + 1;
        let mut commands: Vec<_> =
            self.members.iter().map(|member| Command::Log(self.found(member))).collect();
        commands.extend(self.wait_or_finish());
        commands
    }

    /// Handles a change below the token. A removal before the cluster is complete frees a slot.
    fn changed(&mut self, action: &str, node: Node) -> Vec<Command> {
        self.failures = 0;
        self.next = node.modified_index.max(self.next) + 1;
        let mut commands = Vec::new();
        match action {
            "delete" | "expire" | "compareAndDelete" => {
                self.members.retain(|member| member.key != node.key);
            }
            _ if last_segment(&node).starts_with('_') => {}
            _ => match self.members.iter_mut().find(|member| member.key == node.key) {
                Some(known) => known.value = node.value,
                None => {
                    commands.push(Command::Log(self.found(&node)));
                    self.members.push(node);
                }
            },
        }
        commands.extend(self.wait_or_finish());
        commands
    }

    fn wait_or_finish(&mut self) -> Vec<Command> {
        let (have, size) = (self.members.len(), self.size);
        if have < size {
            let line = format!("found {have} peer(s), waiting for {} more", size - have);
            let mut commands = vec![Command::Log(line)];
            commands.extend(self.wait_for_others());
            return commands;
        }
        self.step = Step::Finished;
        let finish = match self.cluster() {
            Ok(cluster) => Command::Done(cluster),
            Err(error) => Command::Failed(error),
        };
        vec![Command::Log(format!("found {have} needed peer(s)")), finish]
    }

    /// The registered values, joined to an initial cluster.
    fn cluster(&self) -> Result<String, DiscoveryError> {
        let joined = self.members.iter().map(value).collect::<Vec<_>>().join(",");
        let parsed = InitialCluster::parse(&joined).map_err(|_| DiscoveryError::InvalidUrl)?;
        if parsed.members().len() == self.size { Ok(joined) } else { Err(DiscoveryError::DuplicateName) }
    }

    fn is_self(&self, node: &Node) -> bool {
        self.own.as_ref().is_some_and(|own| last_segment(node) == own.id.to_string())
    }

    fn found(&self, node: &Node) -> String {
        let whose = if self.is_self(node) { "self" } else { "peer" };
        format!("found {whose} {} in the cluster", last_segment(node))
    }

    /// Handles a failed request. Reads are retried forever, registrations a limited number of times.
    fn handle_failure(&mut self, step: Step, failure: &Failure) -> Vec<Command> {
        let reason = match failure {
            Failure::TimedOut => "timed out".to_owned(),
            Failure::Connection(reason) => reason.clone(),
        };
        self.failures = self.failures.saturating_add(1);
        let (step, name, attempts) = match step {
            Step::Size if *failure == Failure::TimedOut => {
                (RetryStep::Size, "cluster size check", DISCOVERY_TRIES)
            }
            Step::Size | Step::List => (RetryStep::Size, "cluster status check", u32::MAX),
            Step::Register => {
                self.may_be_registered = true;
                (RetryStep::Register, "registration", DISCOVERY_TRIES)
            }
            Step::WaitForSelf => (RetryStep::WaitForSelf, "waiting for own registration", u32::MAX),
            Step::WaitForOthers => (RetryStep::Size, "waiting for other nodes", u32::MAX),
            Step::Retry(_) | Step::Finished => return Vec::new(),
        };
        if self.failures >= attempts {
            return self.finish(DiscoveryError::NoAnswer { step: name, reason });
        }
        let wait = DISCOVERY_FIRST_RETRY
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(DISCOVERY_LONGEST_RETRY);
        self.step = Step::Retry(step);
        let url = hide_password(&self.url.text);
        let line = format!("{name}: error connecting to {url} ({reason}), retrying in {}s", wait.as_secs());
        vec![Command::Log(line), Command::Wait(wait)]
    }

    fn finish(&mut self, error: DiscoveryError) -> Vec<Command> {
        self.step = Step::Finished;
        vec![Command::Failed(error)]
    }

    fn get_size(&mut self) -> Vec<Command> {
        self.step = Step::Size;
        self.get("/_config/size", Some(DISCOVERY_REQUEST_TIMEOUT))
    }

    fn get_list(&mut self) -> Vec<Command> {
        self.step = Step::List;
        self.get("", Some(DISCOVERY_REQUEST_TIMEOUT))
    }

    fn register(&mut self) -> Vec<Command> {
        let Some(own) = &self.own else { return self.finish(DiscoveryError::Full) };
        let request = Request {
            method: Method::Put,
            path: format!("{}/{}?prevExist=false", self.url.path, own.id),
            value: Some(own.value()),
            timeout: Some(DISCOVERY_REQUEST_TIMEOUT),
        };
        self.step = Step::Register;
        vec![Command::Send(request)]
    }

    fn wait_for_self(&mut self) -> Vec<Command> {
        let (Some(own), Some(created)) = (&self.own, self.registered) else { return self.get_size() };
        let rest = format!("/{}?wait=true&waitIndex={created}", own.id);
        self.step = Step::WaitForSelf;
        self.get(&rest, None)
    }

    fn wait_for_others(&mut self) -> Vec<Command> {
        self.step = Step::WaitForOthers;
        self.get(&format!("?recursive=true&wait=true&waitIndex={}", self.next), None)
    }

    fn get(&self, rest: &str, timeout: Option<Duration>) -> Vec<Command> {
        let path = format!("{}{rest}", self.url.path);
        vec![Command::Send(Request { method: Method::Get, path, value: None, timeout })]
    }
}
