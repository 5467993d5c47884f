//! The commands that show the node's security features print what the documentation says.

use machines::cluster::BackendKind::Qemu;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

const PAGE: &str = include_str!("../../../docs/explanation/security-compared.md");
const HEADER: &str = "| feature | command | prints |";

pub const FEATURES: Scenario = Scenario {
    name: "security-features",
    about: "each command of docs/explanation/security-compared.md prints on a node what its row says",
    on: &[Qemu],
    run: features,
    ..DEFAULTS
};

fn features(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    // The first `docker run` after a boot fails until the image's containers are loaded.
    machine.succeed("sudo systemctl start docker.service")?;
    let rows = rows(PAGE);
    expect(!rows.is_empty(), "commands in the page", PAGE)?;
    for (command, printed) in rows {
        let output = machine.succeed(command)?;
        expect(output.contains(printed), &format!("{command}: {printed}"), &output)?;
    }
    Ok(())
}

/// Commands and parts of their output.
fn rows(page: &str) -> Vec<(&str, &str)> {
    let table =
        page.lines().skip_while(|line| *line != HEADER).skip(2).take_while(|line| line.starts_with('|'));
    table.filter_map(row).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.trim_matches('|').splitn(3, '|').skip(1);
    let mut code = || cells.next()?.trim().strip_prefix('`')?.strip_suffix('`');
    Some((code()?, code()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn every_row_of_the_page_is_read() {
        let (_, table) = PAGE.split_once(HEADER).unwrap();
        let lines = table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|')).count();
        assert_eq!((rows(PAGE).len(), lines), (13, 13));
        assert_eq!(row("| a | `b c` | `d  e,` |"), Some(("b c", "d  e,")));
        assert_eq!(row("| a | b | `d` |"), None);
    }
}
