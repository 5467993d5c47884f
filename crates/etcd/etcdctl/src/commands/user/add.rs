//! `user add`: adds a user.

use command_line::ParsedArgs;
use etcd_client::{Error, NewUser};

use super::name::user;
use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::password;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "add",
    arguments: "<user[:password]>",
    summary: "add a user",
    description: &["Prompts for a missing password."],
    flags: &[],
    examples: &[
        ("etcdctl user add root", "prompt for the password"),
        ("etcdctl user add web:secret", "the password is visible in the process list"),
    ],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

/// Prefix of the server's message for an unknown user. The one for an unknown role of the user differs.
const NO_USER: &str = "auth: User ";

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let (user, inline) = match user(args)?.split_once(':') {
        Some((user, password)) => (user, Some(password.to_owned())),
        None => (user(args)?, None),
    };
    let client = session.client().await?;
    match client.user(user).await {
        Ok(_) => return Err(Failure::usage(format!("User {user} already exists"))),
        Err(Error::Refused { status: 404, message }) if message.starts_with(NO_USER) => {}
        Err(error) => return Err(Failure::plain(&error)),
    }
    let password = match inline {
        Some(password) => password,
        None => password::prompt("New password: ")?,
    };
    let new = NewUser { user, password: &password };
    client.add_user(&new).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("User {user} created\n"))
}
