//! Targets metadata, signed by a release key, and a client of the server's repository.

use std::path::Path;

use minisign::KeyPair;
use release::Release;
use serde_json::json;
use tuf::{
    Client, Ed25519Signer, Fetch, File, Limits, ListedSigner, MemoryStore, Root, Signed, Targets, role_type,
    sign,
};
use update_core::repository::{add_release, next_targets};

use super::roots::{self, PATH};
use super::{HttpReply, Server};

/// The key pair of a minisign key for TUF.
pub fn signer(pair: &KeyPair) -> Ed25519Signer {
    Ed25519Signer::from_seed(&pair.sk.to_bytes()[62..94]).unwrap()
}

/// The server's newest root.
pub fn newest_root(server: &Server) -> Option<Root> {
    let versions = server.admin_json("GET", PATH, "")["versions"].clone();
    let newest = versions.as_array().unwrap().last()?.as_u64().unwrap();
    let path = format!("/files/keelson/metadata/{newest}.root.json");
    Some(Signed::<Root>::parse(&server.raw("GET", &path, "", b"").body).unwrap().signed)
}

/// The server's targets metadata.
pub fn stored(server: &Server) -> Option<Targets> {
    let reply = server.as_admin("GET", &format!("{PATH}/targets"), "");
    (reply.status == 200).then(|| Signed::<Targets>::parse(&reply.body).unwrap().signed)
}

/// The text of `targets.json`, signed by a release key of `root`.
pub fn signed(targets: &Targets, root: &Root, release: &KeyPair) -> String {
    let key = signer(release);
    let listed = ListedSigner::of(&root.roles.targets, &root.keys, &key);
    let text = match &listed {
        Some(listed) => sign(targets.clone(), &[listed]),
        // Another key.
        None => sign(targets.clone(), &[&key]),
    };
    String::from_utf8(text.unwrap().to_bytes().unwrap()).unwrap()
}

/// The server's targets metadata, followed by one that lists the release in `folder`, too.
pub fn with_release(server: &Server, folder: &Path) -> Targets {
    let bytes = std::fs::read(folder.join("release.json")).unwrap();
    let mut targets = next_targets(&newest_root(server).unwrap(), stored(server).as_ref()).unwrap();
    add_release(&mut targets, &Release::parse(&bytes).unwrap(), &bytes).unwrap();
    targets
}

pub fn publish(server: &Server, targets: &str) -> HttpReply {
    server.as_admin("POST", PATH, &json!({ "targets": targets }).to_string())
}

/// Publishes root version 1 with these keys, unless there is a root.
pub fn ensure_root(server: &Server, release: &KeyPair) {
    if newest_root(server).is_none() {
        let root = roots::root(1, &roots::public(release), &roots::online_key(server));
        assert_eq!(roots::publish(server, &roots::signed(&root, &[1, 2])).status, 200);
    }
}

/// Lists the release in `folder`.
pub fn list(server: &Server, folder: &Path, release: &KeyPair) {
    let text = signed(&with_release(server, folder), &newest_root(server).unwrap(), release);
    let reply = publish(server, &text);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Fetches from a server.
pub struct Http<'a>(pub &'a Server);

impl Fetch for Http<'_> {
    fn fetch(&mut self, file: File<'_>, _: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = match file {
            File::Metadata(name) => format!("/files/keelson/metadata/{name}"),
            File::Target(path) => format!("/files/keelson/targets/{path}"),
        };
        let reply = self.0.raw("GET", &path, "", b"");
        match reply.status {
            200 => Ok(Some(reply.body)),
            404 => Ok(None),
            status => Err(format!("{status} {}", reply.text()).into()),
        }
    }
}

/// A machine's store, with the first root of the server.
pub fn store(server: &Server) -> MemoryStore {
    let root = server.raw("GET", "/files/keelson/metadata/1.root.json", "", b"").body;
    MemoryStore([(role_type::ROOT.to_owned(), root)].into())
}

/// Unix time in seconds.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_secs().try_into().unwrap()
}

/// A client at the current time.
pub fn client(server: &Server, store: MemoryStore) -> Client<Http<'_>, MemoryStore> {
    let limits =
        Limits { timestamp_validity: Some(update_core::freshness::MAX_VALIDITY), ..Limits::default() };
    Client::new(Http(server), store, limits, now())
}
