//! `set`: a value for a key, whatever it was before, or only when it was as expected.

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::Set;

use super::arguments::{TTL, key, refused, ttl, value};
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;

pub const COMMAND: Command = Command {
    name: "set",
    arguments: "<key> <value>",
    summary: "give a key a value",
    description: &[
        "Without a value it is read from standard input, to its end.",
        "A value that begins with '-' looks like a flag: put '--' before the key then.",
    ],
    flags: &[
        TTL,
        Flag::new("swap-with-value", ValueKind::Text, "only if this is the value now"),
        Flag::new("swap-with-index", ValueKind::Number, "only if this is the modified index now")
            .default("0"),
    ],
    examples: &[
        ("etcdctl set /message Hello", "makes or replaces it"),
        ("etcdctl set /lock me --ttl 30", "for half a minute"),
        ("etcdctl set /message Bye --swap-with-value Hello", "compare and swap"),
        ("etcdctl set -- /number -5", "a value that looks like a flag"),
        ("etcdctl set /config < file", "a value from a file"),
    ],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let (key, value) = (key(given)?, value(given)?);
    let how = Set {
        ttl: ttl(given),
        prev_value: given.text("swap-with-value").map(str::to_owned),
        prev_index: given.number("swap-with-index"),
        ..Set::default()
    };
    let answer = session.client().await?.set(key, value, &how).await.map_err(refused)?;
    session.print(&answer)
}
