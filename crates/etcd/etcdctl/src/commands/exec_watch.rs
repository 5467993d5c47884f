//! `exec-watch`: runs a program for each change.

use std::process::Command as Program;
use std::sync::Arc;

use command_line::ParsedArgs;
use etcd_client::Response;
use tokio::sync::Semaphore;

use super::arguments::request_failed;
use super::watch::{AFTER_INDEX, RECURSIVE, watch_options};
use crate::command::{Command, Run};
use crate::failure::{Exit, Failure};
use crate::session::Session;

/// Maximum number of concurrently running programs; further changes wait until one exits.
const MAX_PROGRAMS: usize = 64;

pub const COMMAND: Command = Command {
    name: "exec-watch",
    arguments: "<key> -- <command> [args...]",
    summary: "watch a key and run a program for each change",
    description: &[
        "The change is passed in the environment: ETCD_WATCH_ACTION, ETCD_WATCH_KEY, ETCD_WATCH_VALUE and",
        "ETCD_WATCH_MODIFIED_INDEX. Changes of directories are ignored.",
    ],
    flags: &[AFTER_INDEX, RECURSIVE],
    examples: &[("etcdctl exec-watch --recursive /services -- reload.sh", "run a script until interrupted")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (key, program) = key_and_program(&args.arguments)?;
    tokio::select! {
        done = follow(session, key, program, args) => done,
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
    }
}

/// `KEY -- PROGRAM…`, or the original's older form without `--`: `PROGRAM… KEY`.
fn key_and_program(arguments: &[String]) -> Result<(&str, &[String]), Failure> {
    let required = || Failure::error(Exit::BadArguments, "key and command to exec required");
    if arguments.get(1).is_some_and(|argument| argument == "--") {
        let program = arguments.get(2..).filter(|program| !program.is_empty()).ok_or_else(required)?;
        return Ok((&arguments[0], program));
    }
    match arguments.split_last() {
        Some((key, program)) if !program.is_empty() => Ok((key, program)),
        _ => Err(required()),
    }
}

async fn follow(session: &Session, key: &str, program: &[String], args: &ParsedArgs) -> Result<(), Failure> {
    let mut watcher = session.client().await?.watch(key, watch_options(args));
    let permits = Arc::new(Semaphore::new(MAX_PROGRAMS));
    loop {
        let response = watcher.next().await.map_err(request_failed)?;
        let node = response.node();
        if node.dir {
            eprintln!("Ignored dir {} change", node.key);
            continue;
        }
        // invariant: the semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { continue };
        let mut child = start(program, &response)?;
        tokio::task::spawn_blocking(move || {
            if let Err(error) = child.wait() {
                eprintln!("waiting for the program: {error}");
            }
            drop(permit);
        });
    }
}

fn start(program: &[String], response: &Response) -> Result<std::process::Child, Failure> {
    // invariant: `key_and_program` returns at least one word.
    let Some((name, arguments)) = program.split_first() else {
        return Err(Failure::error(Exit::BadArguments, "key and command to exec required"));
    };
    let node = response.node();
    Program::new(name)
        .args(arguments)
        .env("ETCD_WATCH_ACTION", &response.event.action)
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
    fn key_and_program_of_both_forms() {
        let cases: [(&str, Option<(&str, &str)>); 6] = [
            ("/k -- echo a", Some(("/k", "echo a"))),
            ("/k -- echo --", Some(("/k", "echo --"))),
            ("echo a /k", Some(("/k", "echo a"))),
            ("/k --", None),
            ("/k", None),
            ("", None),
        ];
        for (text, expect) in cases {
            let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            let got = key_and_program(&arguments).ok().map(|(key, program)| (key, program.join(" ")));
            assert_eq!(got.as_ref().map(|(key, program)| (*key, program.as_str())), expect, "{text}");
        }
    }
}
