//! Root metadata, signed by root keys that are numbered.

use std::num::NonZeroU64;

use channel_server::PUBLIC_KEY;
use minisign::KeyPair;
use release::{PublicKeyBytes, public_key};
use serde_json::json;
use tuf::{Date, Ed25519Signer, Root, Signer, sign};
use update_core::roots::{NamedKey, Role, set_keys};

use super::{HttpReply, Server};

pub const PATH: &str = "/api/apps/keelson/keys";
pub const FOLDER: &str = "roots/e96281a6-d1af-4bde-9a0a-97b76e56dc57";
pub const EXPIRES: i64 = 4_000_000_000;

/// A root key.
pub fn root_key(number: u8) -> Ed25519Signer {
    Ed25519Signer::from_seed(&[number; 32]).unwrap()
}

pub fn public(pair: &KeyPair) -> PublicKeyBytes {
    public_key("a.pub", &pair.pk.to_box().unwrap().to_string()).unwrap()
}

/// The key that signs the server's timestamps.
pub fn online_key(server: &Server) -> PublicKeyBytes {
    public_key(PUBLIC_KEY, &std::fs::read_to_string(server.data.join(PUBLIC_KEY)).unwrap()).unwrap()
}

pub fn named(name: &str, public: &PublicKeyBytes) -> NamedKey {
    NamedKey::new(name.parse().unwrap(), public)
}

/// A root with the root keys 1, 2 and 3, of which two must sign.
pub fn root(version: u64, release: &PublicKeyBytes, channel: &PublicKeyBytes) -> Root {
    let mut root = Root::new(Date::from_unix(EXPIRES).unwrap(), true);
    root.header.version = version.try_into().unwrap();
    set_root_keys(&mut root, &[1, 2, 3], 2);
    set_keys(&mut root, Role::Release, &[named("own", release)], NonZeroU64::MIN);
    set_keys(&mut root, Role::Channel, &[named("own", channel)], NonZeroU64::MIN);
    root
}

pub fn set_root_keys(root: &mut Root, numbers: &[u8], threshold: u64) {
    let key = |number: &u8| {
        let key = root_key(*number).key().clone();
        NamedKey { name: format!("root-{number}").parse().unwrap(), key }
    };
    let keys: Vec<NamedKey> = numbers.iter().map(key).collect();
    set_keys(root, Role::Root, &keys, threshold.try_into().unwrap());
}

/// The text of `N.root.json`, signed by these root keys.
pub fn signed(root: &Root, numbers: &[u8]) -> String {
    let keys: Vec<Ed25519Signer> = numbers.iter().map(|number| root_key(*number)).collect();
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    String::from_utf8(sign(root.clone(), &signers).unwrap().to_bytes().unwrap()).unwrap()
}

/// The request that publishes a root.
pub fn body(root: &str) -> String {
    json!({ "root": root }).to_string()
}

pub fn publish(server: &Server, root: &str) -> HttpReply {
    server.as_admin("POST", PATH, &body(root))
}
