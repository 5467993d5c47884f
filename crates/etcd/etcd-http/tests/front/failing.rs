//! A back end without a leader: local reads succeed, everything else has no outcome.

use etcd_api::{ApiError, Member, Timestamp, Unavailable};
use etcd_http::Local;
use etcd_http::backend::{Backend, MemberChangeError, OpenWatch, Position, Role, Status, WatchOptions};
use etcd_http::local::LocalWatch;
use etcd_store::{Command, Outcome, Store};

#[derive(Clone)]
pub struct Failing(pub Local);

const ERROR: Unavailable = Unavailable::TimedOut;

impl Backend for Failing {
    type Watch = LocalWatch;

    async fn propose(&self, _: Command) -> Result<Outcome, Unavailable> {
        Err(ERROR)
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn settled_time(&self) -> Result<Timestamp, Unavailable> {
        Err(ERROR)
    }

    async fn barrier(&self) -> Result<(), Unavailable> {
        Err(ERROR)
    }

    fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        self.0.read(read)
    }

    fn watch(&self, options: &WatchOptions) -> Result<OpenWatch<LocalWatch>, ApiError> {
        self.0.watch(options)
    }

    fn watchers(&self) -> u64 {
        self.0.watchers()
    }

    fn position(&self) -> Position {
        self.0.position()
    }

    fn status(&self) -> Status {
        Status { role: Role::Candidate, leader: None, leader_since: None, ..self.0.status() }
    }

    async fn add_member(&self, _: Vec<String>) -> Result<Member, MemberChangeError> {
        Err(ERROR.into())
    }

    async fn update_member(&self, _: u64, _: Vec<String>) -> Result<(), MemberChangeError> {
        Err(ERROR.into())
    }

    async fn remove_member(&self, _: u64) -> Result<(), MemberChangeError> {
        Err(ERROR.into())
    }
}
