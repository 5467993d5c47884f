//! `member update`: changes the peer URLs of a member.

use command_line::ParsedArgs;

use crate::command::{Command, Run};
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::print;

pub const COMMAND: Command = Command {
    name: "update",
    arguments: "<memberID> <peerURLs>",
    summary: "update the peer URLs of a member",
    description: &["Separate several URLs by commas."],
    flags: &[],
    examples: &[("etcdctl member update bdae9bbc11dd390d http://10.0.0.11:2380", "announce a new address")],
    run: Run::Action(|session, args| Box::pin(run(session, args))),
};

const USAGE: &str =
    "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)";

async fn run(session: &Session, args: &ParsedArgs) -> Result<(), Failure> {
    let [id, urls] = args.arguments.as_slice() else {
        return Err(Failure::usage(USAGE));
    };
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    session.client().await?.update_member(id, &urls).await.map_err(|error| Failure::plain(&error))?;
    print(&format!("Updated member with ID {id} in cluster\n"))
}
