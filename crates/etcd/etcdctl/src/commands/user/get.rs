//! `user get`: the roles of a user.

use command_line::ParsedArgs;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::say;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<user>",
    summary: "show the roles of a user",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user get web", "its roles, in one line")],
    run: Run::Does(|session, given| Box::pin(run(session, given))),
};

async fn run(session: &Session, given: &ParsedArgs) -> Result<(), Failure> {
    let user = user(given)?;
    let found = session.client().await?.user(user).await.map_err(|error| Failure::plain(&error))?;
    // etcd 2.3 leaves an empty first role after some grants.
    let roles: Vec<_> =
        found.roles.iter().map(|role| role.role.as_str()).filter(|role| !role.is_empty()).collect();
    say(&format!("User: {}\nRoles: {}\n", found.user, roles.join(" ")))
}
