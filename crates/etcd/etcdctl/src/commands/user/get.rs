//! `user get`: shows the roles of a user.

use command_line::ParsedArgs;

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "get",
    arguments: "<user>",
    summary: "show the roles of a user",
    description: &[],
    flags: &[],
    examples: &[("etcdctl user get web", "print the roles of web")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let user = user(args)?;
    let found = session.client().await?.user(user).await.map_err(|error| Failure::plain(&error))?;
    // etcd 2.3 returns an empty first role after some grants.
    let roles: Vec<_> =
        found.roles.iter().map(|role| role.role.as_str()).filter(|role| !role.is_empty()).collect();
    print(&format!("User: {}\nRoles: {}\n", found.user, roles.join(" ")))
}
