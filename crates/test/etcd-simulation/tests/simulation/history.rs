//! One client operation at a member, as the linearizability checker represents it.

use bytes::Bytes;
use conformance::history::{Action, Outcome};
use etcd_api::{ErrorCode, Key};
use etcd_raft::{Member, Unavailable};
use etcd_store::{Change, Command, CommandError, Delete, Put};

pub fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

pub fn put(text: &str, value: u64) -> Put {
    Put {
        key: key(text),
        value: Bytes::from(value.to_string()),
        dir: false,
        expiration: None,
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    }
}

/// `None` if it certainly had no effect.
pub async fn act(member: Member, at: String, action: Action, barrier: bool) -> Option<Outcome> {
    if action == Action::Read {
        if barrier && member.barrier().await.is_err() {
            return None;
        }
        let read = member.read(|store| store.get(&key(&at), false));
        let value = read.ok().map(|event| number(&event.node.value.unwrap()));
        return Some(Outcome::Saw(value));
    }
    match member.propose(&command(&at, action)).await {
        Ok(outcome) => Some(outcome_of(&outcome.result)),
        Err(Unavailable::TooManyRequests | Unavailable::NoSpace | Unavailable::TooLarge) => None,
        Err(_) => Some(Outcome::Unknown),
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn command(at: &str, action: Action) -> Command {
    match action {
        Action::Read => unreachable!("a read is no command"),
        Action::Write(value) => Command::Put(put(at, value)),
        Action::Create(value) => Command::Put(Put { prev_exist: Some(false), ..put(at, value) }),
        Action::Swap { from, to } => {
            let prev_value = Some(Bytes::from(from.to_string()));
            Command::Put(Put { prev_value, ..put(at, to) })
        }
        Action::Delete => Command::Delete(Delete {
            key: key(at),
            dir: false,
            recursive: false,
            prev_value: None,
            prev_index: None,
        }),
    }
}

fn outcome_of(result: &Result<Change, CommandError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(CommandError::Keys(error)) => match error.code {
            ErrorCode::KeyNotFound => Outcome::Missing,
            ErrorCode::CompareFailed | ErrorCode::KeyExists => Outcome::Refused,
            _ => panic!("{error:?}"),
        },
        Err(other) => panic!("{other:?}"),
    }
}
