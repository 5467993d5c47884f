//! What a machine does with the server's repository.

use release::Version;
use serde_json::json;
use tuf::{MemoryStore, Root, Signed, Target, Timestamp};
use update_core::repository::{ChannelTarget, channel_target, release_target};

use super::roots::PATH;
use super::targets::{client, store};
use super::{HttpReply, Server};

pub const BOARD: &str = "amd64-usr";
pub const ALPHA: &str = "/api/apps/keelson/channels/alpha";
/// Below a server's folder.
pub const FOLDER: &str = "repository/e96281a6-d1af-4bde-9a0a-97b76e56dc57";

pub fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub fn get(server: &Server, name: &str) -> HttpReply {
    server.raw("GET", &format!("/files/keelson/metadata/{name}"), "", b"")
}

pub fn timestamp(server: &Server) -> Timestamp {
    let reply = get(server, "timestamp.json");
    assert_eq!(reply.status, 200, "{}", reply.text());
    Signed::<Timestamp>::parse(&reply.body).unwrap().signed
}

#[track_caller]
pub fn rejected(reply: &HttpReply, status: u16, expect: &str) {
    assert!(reply.status == status && reply.text().contains(expect), "{} {}", reply.status, reply.text());
}

/// What a machine does: refresh, and find its channel.
pub fn find(
    server: &Server,
    store: MemoryStore,
    channel: &str,
) -> (MemoryStore, Option<(Target, ChannelTarget)>) {
    let mut client = client(server, store);
    let trusted = client.refresh().unwrap_or_else(|error| panic!("{}", service::error::chain(&error)));
    let path = channel_target(channel, BOARD);
    let found = client.find(&trusted, &path).unwrap();
    let found = found.map(|target| {
        let of = ChannelTarget::of(&path, &target.file).unwrap();
        assert_eq!(target.role, "channels");
        // The channel has a release that the release keys list.
        let listed = &trusted.targets.targets[&release_target(BOARD, &of.version)];
        assert_eq!((listed.length, &listed.hashes), (target.file.length, &target.file.hashes));
        (target, of)
    });
    (client.into_store(), found)
}

pub fn current(server: &Server) -> Option<ChannelTarget> {
    find(server, store(server), "alpha").1.map(|(_, target)| target)
}

/// Publishes a root and what it needs, in one request.
pub fn publish_both(server: &Server, root: &str, targets: &str) -> HttpReply {
    server.as_admin("POST", PATH, &json!({ "root": root, "targets": targets }).to_string())
}

pub fn successor(root: &Root, change: impl Fn(&mut Root)) -> Root {
    let mut next = root.clone();
    next.header.version = next.header.version.saturating_add(1);
    change(&mut next);
    next
}
