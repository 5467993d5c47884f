//! `exec-watch`: runs a program for each change.

use std::process::Command as Program;
use std::sync::Arc;

use command_line::ParsedArgs;
use etcd_client::Answer;
use tokio::sync::Semaphore;

use super::arguments::refused;
use super::watch::{AFTER_INDEX, RECURSIVE, wanted};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// So many programs run at the same time at most; further changes wait for one to end.
const PROGRAMS: usize = 64;

pub const COMMAND: Command = Command {
    name: "exec-watch",
    arguments: "<key> -- <command> [args...]",
    summary: "run a program whenever a key changes",
    description: &[
        "The program finds the change in its environment: ETCD_WATCH_ACTION, ETCD_WATCH_KEY,",
        "ETCD_WATCH_VALUE and ETCD_WATCH_MODIFIED_INDEX. Changes of directories are left out.",
    ],
    flags: &[AFTER_INDEX, RECURSIVE],
    examples: &[("etcdctl exec-watch --recursive /services -- reload.sh", "until ctrl-C")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (key, program) = key_and_program(&given.arguments)?;
    tokio::select! {
        done = follow(session, key, program, given) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

/// `KEY -- PROGRAM…`, or as it was before `--` was known: `PROGRAM… KEY`.
fn key_and_program(words: &[String]) -> Result<(&str, &[String]), Failure> {
    let required = || Failure::error(Exit::BadArguments, "key and command to exec required");
    if words.get(1).is_some_and(|word| word == "--") {
        let program = words.get(2..).filter(|program| !program.is_empty()).ok_or_else(required)?;
        return Ok((&words[0], program));
    }
    match words.split_last() {
        Some((key, program)) if !program.is_empty() => Ok((key, program)),
        _ => Err(required()),
    }
}

async fn follow(session: &Session, key: &str, program: &[String], given: &ParsedArgs) -> Result<(), Failure> {
    let mut watcher = session.client().await?.watch(key, wanted(given));
    let places = Arc::new(Semaphore::new(PROGRAMS));
    loop {
        let answer = watcher.next().await.map_err(refused)?;
        let node = answer.node();
        if node.dir {
            eprintln!("Ignored dir {} change", node.key);
            continue;
        }
        // invariant: the semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { continue };
        let mut child = start(program, &answer)?;
        tokio::task::spawn_blocking(move || {
            if let Err(error) = child.wait() {
                eprintln!("waiting for the program: {error}");
            }
            drop(place);
        });
    }
}

fn start(program: &[String], answer: &Answer) -> Result<std::process::Child, Failure> {
    // invariant: `key_and_program` gives at least one word.
    let Some((name, arguments)) = program.split_first() else {
        return Err(Failure::error(Exit::BadArguments, "key and command to exec required"));
    };
    let node = answer.node();
    Program::new(name)
        .args(arguments)
        .env("ETCD_WATCH_ACTION", &answer.event.action)
        .env("ETCD_WATCH_MODIFIED_INDEX", node.modified_index.to_string())
        .env("ETCD_WATCH_KEY", &node.key)
        .env("ETCD_WATCH_VALUE", node.value.as_deref().unwrap_or_default())
        .spawn()
        .map_err(|error| Failure::usage(format!("exec: {name:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_key_stands() {
        let cases: [(&str, Option<(&str, &str)>); 6] = [
            ("/k -- echo a", Some(("/k", "echo a"))),
            ("/k -- echo --", Some(("/k", "echo --"))),
            ("echo a /k", Some(("/k", "echo a"))),
            ("/k --", None),
            ("/k", None),
            ("", None),
        ];
        for (text, expect) in cases {
            let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let got = key_and_program(&words).ok().map(|(key, program)| (key, program.join(" ")));
            assert_eq!(got.as_ref().map(|(key, program)| (*key, program.as_str())), expect, "{text}");
        }
    }
}
