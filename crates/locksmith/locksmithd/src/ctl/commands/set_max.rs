//! `set-max`: sets the number of machines that may hold the lock.

use command_line::ParsedArgs;

use super::super::command::{Command, Run};
use super::super::failure::Failure;
use super::super::session::{Session, failed};
use super::super::stdout::print;

pub const COMMAND: Command = Command {
    name: "set-max",
    arguments: "NUMBER",
    summary: "Set the maximum number of lock holders",
    description: &[
        "Set the maximum number of machines that can be rebooting at a given time. Current holders keep the lock.",
    ],
    flags: &[],
    examples: &[("locksmithctl set-max 4", "four at a time")],
    run: Run::Execute(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let Some(text) = args.argument(0) else {
        return Err(Failure::new("New maximum value must be set."));
    };
    let max = parse_max(text).ok_or_else(|| Failure::new(format!("Invalid maximum value: {text}")))?;
    let lock = session.lock().await?;
    let old = lock.set_max(max).await.map_err(|error| failed("setting value", &error))?;
    if max == 0 {
        eprintln!("WARNING: with a maximum of 0 no machine reboots");
    }
    print(&format!("Old-Max: {old}\nMax: {max}\n"))
}

/// A non-negative number. locksmith accepts negative ones, which block all reboots.
fn parse_max(text: &str) -> Option<i64> {
    text.parse().ok().filter(|max| *max >= 0)
}

#[cfg(test)]
mod tests {
    use super::parse_max;

    #[test]
    fn numbers() {
        for (text, expect) in
            [("3", Some(3)), ("0", Some(0)), ("-1", None), ("x", None), ("1.5", None), ("", None)]
        {
            assert_eq!(parse_max(text), expect, "{text}");
        }
    }
}
