//! `set-max`: how many may hold the lock at once.

use command_line::ParsedArgs;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed};
use super::super::stdout::say;

pub const COMMAND: Command = Command {
    name: "set-max",
    arguments: "NUMBER",
    summary: "Set the maximum number of lock holders",
    description: &[
        "Set the maximum number of machines that can be rebooting at a given time. Who holds the lock keeps it.",
    ],
    flags: &[],
    examples: &[("locksmithctl set-max 4", "four at a time")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let Some(text) = given.argument(0) else {
        return Err(Failure::new("New maximum value must be set."));
    };
    let max = parsed(text).ok_or_else(|| Failure::new(format!("Invalid maximum value: {text}")))?;
    let lock = session.lock().await?;
    let old = lock.set_max(max).await.map_err(|error| failed("setting value", &error))?;
    if max == 0 {
        eprintln!("WARNING: with a maximum of 0 no machine reboots");
    }
    say(&format!("Old-Max: {old}\nMax: {max}\n"))
}

/// A whole number that is not below zero: the original took any, and no machine could reboot ever again.
fn parsed(text: &str) -> Option<i64> {
    text.parse().ok().filter(|max| *max >= 0)
}

#[cfg(test)]
mod tests {
    use super::parsed;

    #[test]
    fn numbers() {
        for (text, expect) in
            [("3", Some(3)), ("0", Some(0)), ("-1", None), ("x", None), ("1.5", None), ("", None)]
        {
            assert_eq!(parsed(text), expect, "{text}");
        }
    }
}
