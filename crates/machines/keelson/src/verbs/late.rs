//! What is said where a machine does not get ready.

use std::time::Duration;

use machines::cluster::NodeState;
use machines::site::{Site, SiteError};
use machines::ssh;

use crate::context::Context;

/// The machines that are ready stay so, and those that are not go on.
pub fn late(context: &Context, site: &Site, error: SiteError) -> anyhow::Error {
    let error = match error {
        SiteError::NotReady(late) => late,
        other => return other.into(),
    };
    if let Some(status) = error.unit.as_deref().and_then(|unit| status_of(site, &error.node, unit)) {
        context.progress.note(&status);
    }
    let nodes = site.status();
    let ready = nodes.iter().filter(|node| node.state == NodeState::Ready).count();
    let keelson = &context.command;
    anyhow::Error::from(SiteError::NotReady(error)).context(format!(
        "{ready} of {} machines are ready, and none was switched off; `{keelson} up` goes on waiting, \
         `{keelson} console NAME` shows one",
        nodes.len()
    ))
}

/// What systemd says on a machine, where that lets somebody in already, of the unit that its boot waits for.
fn status_of(site: &Site, node: &str, unit: &str) -> Option<String> {
    const LIMIT: Duration = Duration::from_secs(20);
    if unit.contains(|char: char| !char.is_ascii_alphanumeric() && !"-_.@:\\".contains(char)) {
        return None;
    }
    let node = site.node(node).ok()?;
    let status = format!("systemctl status --no-pager --lines=5 -- '{unit}'");
    let output = ssh::run(site.layout(), &node, ssh::Connection::Own, &status, b"", LIMIT).ok()?;
    Some(format!("{}:\n{}", node.name, output.stdout.trim_end()))
}
