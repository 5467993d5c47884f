//! The steps: size, list, register, see oneself, list again, wait for the others.

use std::time::Duration;

use super::address::DiscoveryUrl;
use etcd_api::received::{self, Node};

use super::answer::{HttpAnswer, Read, base, read, value};
use super::error::DiscoveryError;
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
    Answer(HttpAnswer),
    /// The request got no answer.
    Failed(Failure),
    /// The wait is over.
    Due,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    TimedOut,
    Connection(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Ask(Request),
    Wait(Duration),
    Log(String),
    /// `name=url,...`, the initial cluster.
    Done(String),
    /// The registered members, for a proxy; a member decides by its fallback.
    Full(String),
    Failed(DiscoveryError),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The `value` of the form, not yet encoded.
    pub value: Option<String>,
    /// `None` for watches: they last as long as it takes.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
}

/// What a member registers.
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
    SeeSelf,
    WaitForOthers,
    /// A request failed; when the wait is over, this is done again.
    Retry(Again),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Size,
    Register,
    SeeSelf,
}

pub struct Discovery {
    url: DiscoveryUrl,
    own: Option<Registration>,
    step: Step,
    size: usize,
    /// Registrations in the order in which they were made.
    members: Vec<Node>,
    /// Own registration's index, once it is known.
    registered: Option<u64>,
    /// An attempt to register got no answer: it may have been done all the same.
    unsure: bool,
    /// The next index to watch from.
    next: u64,
    /// Failures in a row, for growing waits.
    failures: u32,
}

impl Discovery {
    /// Without a registration it only reads: proxies.
    pub fn new(url: DiscoveryUrl, own: Option<Registration>) -> Self {
        Self {
            url,
            own,
            step: Step::Size,
            size: 0,
            members: Vec::new(),
            registered: None,
            unsure: false,
            next: 0,
            failures: 0,
        }
    }

    pub fn start(&mut self) -> Vec<Command> {
        self.ask_size()
    }

    /// What happened -> what to do. An event that does not fit the step (late, doubled) changes nothing.
    pub fn step(&mut self, event: Event) -> Vec<Command> {
        match (self.step, event) {
            (Step::Ended, _) => Vec::new(),
            (Step::Retry(again), Event::Due) => match again {
                Again::Size => self.ask_size(),
                Again::Register => self.ask_register(),
                Again::SeeSelf => self.ask_self(),
            },
            (Step::Retry(_), _) | (_, Event::Due) => Vec::new(),
            (step, Event::Failed(failure)) => self.failed(step, &failure),
            (step, Event::Answer(answer)) => match (read(&answer), step) {
                (Read::Unwell(status), _) => {
                    self.failed(step, &Failure::Connection(format!("the service answered {status}")))
                }
                (Read::NotJson, _) => self.end(DiscoveryError::BadEndpoint),
                (Read::Empty, Step::WaitForOthers) => self.ask_others(),
                (Read::Empty, Step::SeeSelf) => self.ask_self(),
                (Read::Empty, _) => self.end(DiscoveryError::BadEndpoint),
                (Read::Refused(error), _) => self.refused(step, &error),
                (Read::Changed { action, node }, _) => self.answered(step, &action, node, answer.index),
            },
        }
    }

    fn answered(&mut self, step: Step, action: &str, node: Node, index: Option<u64>) -> Vec<Command> {
        match step {
            Step::Size => match value(&node).trim().parse() {
                Ok(size) if (1..=MAX_MEMBERS).contains(&size) => {
                    self.size = size;
                    self.ask_list()
                }
                _ => self.end(DiscoveryError::BadSize),
            },
            Step::List => self.listed(node, index.unwrap_or_default()),
            Step::Register => {
                self.failures = 0;
                self.registered = Some(node.created_index);
                self.ask_self()
            }
            Step::SeeSelf => {
                // What the watch or the read saw is our own key: now the list is asked again.
                self.failures = 0;
                self.ask_size()
            }
            Step::WaitForOthers => self.saw(action, node),
            Step::Retry(_) | Step::Ended => Vec::new(),
        }
    }

    fn refused(&mut self, step: Step, error: &received::Error) -> Vec<Command> {
        match (step, error.error_code) {
            (Step::Size, KEY_NOT_FOUND) => self.end(DiscoveryError::NoSize),
            // Our own earlier attempt, whose answer was lost: the list before it did not have us.
            (Step::Register, KEY_EXISTS) if self.unsure => {
                self.registered = Some(0);
                self.ask_size()
            }
            (Step::Register, KEY_EXISTS) => self.end(DiscoveryError::DuplicateId),
            // Too much happened in between: look at the whole again.
            (Step::WaitForOthers | Step::SeeSelf, HISTORY_CLEARED) => self.ask_size(),
            _ => self.end(DiscoveryError::Refused(error.to_string())),
        }
    }

    /// A list came: is there room, and are we in it?
    fn listed(&mut self, node: Node, index: u64) -> Vec<Command> {
        self.failures = 0;
        let mut members: Vec<_> = node.nodes.into_iter().filter(|member| base(member) != "_config").collect();
        members.sort_by_key(|member| member.created_index);
        let place = members.iter().position(|member| self.is_self(member));
        if members.len() >= self.size && place.is_none_or(|place| place >= self.size) {
            members.truncate(self.size);
            self.members = members;
            self.step = Step::Ended;
            let Ok(cluster) = self.cluster() else { return vec![Command::Failed(DiscoveryError::Full)] };
            return vec![if self.own.is_some() { Command::Full(cluster) } else { Command::Done(cluster) }];
        }
        if self.own.is_some() && self.registered.is_none() {
            return self.ask_register();
        }
        members.truncate(self.size);
        self.members = members;
        self.next = index + 1;
        let mut commands: Vec<_> =
            self.members.iter().map(|member| Command::Log(self.found(member))).collect();
        commands.extend(self.wait_or_end());
        commands
    }

    /// A change below the token. Whoever leaves before the cluster is complete frees the place again.
    fn saw(&mut self, action: &str, node: Node) -> Vec<Command> {
        self.failures = 0;
        self.next = node.modified_index.max(self.next) + 1;
        let mut commands = Vec::new();
        match action {
            "delete" | "expire" | "compareAndDelete" => {
                self.members.retain(|member| member.key != node.key);
            }
            _ if base(&node).starts_with('_') => {}
            _ => match self.members.iter_mut().find(|member| member.key == node.key) {
                Some(known) => known.value = node.value,
                None => {
                    commands.push(Command::Log(self.found(&node)));
                    self.members.push(node);
                }
            },
        }
        commands.extend(self.wait_or_end());
        commands
    }

    fn wait_or_end(&mut self) -> Vec<Command> {
        let (have, size) = (self.members.len(), self.size);
        if have < size {
            let line = format!("found {have} peer(s), waiting for {} more", size - have);
            let mut commands = vec![Command::Log(line)];
            commands.extend(self.ask_others());
            return commands;
        }
        self.step = Step::Ended;
        let end = match self.cluster() {
            Ok(cluster) => Command::Done(cluster),
            Err(error) => Command::Failed(error),
        };
        vec![Command::Log(format!("found {have} needed peer(s)")), end]
    }

    /// Values joined: the initial cluster.
    fn cluster(&self) -> Result<String, DiscoveryError> {
        let joined = self.members.iter().map(value).collect::<Vec<_>>().join(",");
        let parsed = InitialCluster::parse(&joined).map_err(|_| DiscoveryError::InvalidUrl)?;
        if parsed.members().len() == self.size { Ok(joined) } else { Err(DiscoveryError::DuplicateName) }
    }

    fn is_self(&self, node: &Node) -> bool {
        self.own.as_ref().is_some_and(|own| base(node) == own.id.to_string())
    }

    fn found(&self, node: &Node) -> String {
        let who = if self.is_self(node) { "self" } else { "peer" };
        format!("found {who} {} in the cluster", base(node))
    }

    /// No answer. Reading is repeated forever; registering only some times, since then somebody should look.
    fn failed(&mut self, step: Step, failure: &Failure) -> Vec<Command> {
        let reason = match failure {
            Failure::TimedOut => "timed out".to_owned(),
            Failure::Connection(reason) => reason.clone(),
        };
        self.failures = self.failures.saturating_add(1);
        let (again, name, tries) = match step {
            Step::Size if *failure == Failure::TimedOut => {
                (Again::Size, "cluster size check", DISCOVERY_TRIES)
            }
            Step::Size | Step::List => (Again::Size, "cluster status check", u32::MAX),
            Step::Register => {
                self.unsure = true;
                (Again::Register, "registration", DISCOVERY_TRIES)
            }
            Step::SeeSelf => (Again::SeeSelf, "waiting for own registration", u32::MAX),
            Step::WaitForOthers => (Again::Size, "waiting for other nodes", u32::MAX),
            Step::Retry(_) | Step::Ended => return Vec::new(),
        };
        if self.failures >= tries {
            return self.end(DiscoveryError::NoAnswer { step: name, reason });
        }
        let wait = DISCOVERY_FIRST_RETRY
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(DISCOVERY_LONGEST_RETRY);
        self.step = Step::Retry(again);
        let url = hide_password(&self.url.text);
        let line = format!("{name}: error connecting to {url} ({reason}), retrying in {}s", wait.as_secs());
        vec![Command::Log(line), Command::Wait(wait)]
    }

    fn end(&mut self, error: DiscoveryError) -> Vec<Command> {
        self.step = Step::Ended;
        vec![Command::Failed(error)]
    }

    fn ask_size(&mut self) -> Vec<Command> {
        self.step = Step::Size;
        self.get("/_config/size", Some(DISCOVERY_REQUEST_TIMEOUT))
    }

    fn ask_list(&mut self) -> Vec<Command> {
        self.step = Step::List;
        self.get("", Some(DISCOVERY_REQUEST_TIMEOUT))
    }

    fn ask_register(&mut self) -> Vec<Command> {
        let Some(own) = &self.own else { return self.end(DiscoveryError::Full) };
        let request = Request {
            method: Method::Put,
            path: format!("{}/{}?prevExist=false", self.url.path, own.id),
            value: Some(own.value()),
            timeout: Some(DISCOVERY_REQUEST_TIMEOUT),
        };
        self.step = Step::Register;
        vec![Command::Ask(request)]
    }

    fn ask_self(&mut self) -> Vec<Command> {
        let (Some(own), Some(created)) = (&self.own, self.registered) else { return self.ask_size() };
        let rest = format!("/{}?wait=true&waitIndex={created}", own.id);
        self.step = Step::SeeSelf;
        self.get(&rest, None)
    }

    fn ask_others(&mut self) -> Vec<Command> {
        self.step = Step::WaitForOthers;
        self.get(&format!("?recursive=true&wait=true&waitIndex={}", self.next), None)
    }

    fn get(&self, rest: &str, timeout: Option<Duration>) -> Vec<Command> {
        let path = format!("{}{rest}", self.url.path);
        vec![Command::Ask(Request { method: Method::Get, path, value: None, timeout })]
    }
}
