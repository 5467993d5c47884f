//! The error of a machine that does not become ready.

use std::time::Duration;

use machines::cluster::NodeState;
use machines::site::{Site, SiteError};
use machines::ssh;

use crate::context::Context;

/// Machines that are ready stay so, and the others continue to boot.
pub fn not_ready_error(context: &Context, site: &Site, error: SiteError) -> anyhow::Error {
    let error = match error {
        SiteError::NotReady(not_ready) => not_ready,
        other => return other.into(),
    };
    if let Some(status) = error.unit.as_deref().and_then(|unit| unit_status(site, &error.node, unit)) {
        context.progress.note(&status);
    }
    let nodes = site.status();
    let ready = nodes.iter().filter(|node| node.state == NodeState::Ready).count();
    let keelson = &context.command;
    anyhow::Error::from(SiteError::NotReady(error)).context(format!(
        "{ready} of {} machines are ready, and no machine was stopped; `{keelson} up` continues to wait, \
         `{keelson} console NAME` shows a console",
        nodes.len()
    ))
}

/// The systemd status of the unit that the boot waits for, if the machine accepts logins.
fn unit_status(site: &Site, node: &str, unit: &str) -> Option<String> {
    const LIMIT: Duration = Duration::from_secs(20);
    if unit.contains(|char: char| !char.is_ascii_alphanumeric() && !"-_.@:\\".contains(char)) {
        return None;
    }
    let node = site.node(node).ok()?;
    let status = format!("systemctl status --no-pager --lines=5 -- '{unit}'");
    let output = ssh::run(site.layout(), &node, ssh::Connection::Own, &status, b"", LIMIT).ok()?;
    Some(format!("{}:\n{}", node.name, output.stdout.trim_end()))
}
