//! Random commands: few keys, values, times and names, so that they interact.

use bytes::Bytes;
use etcd_api::{Key, KeyPermissions, Member, Permissions, Role, Timestamp};
use etcd_store::{AuthCommand, Command, Delete, PasswordHash, Post, Put};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        12 => put().prop_map(Command::Put),
        3 => post().prop_map(Command::Post),
        5 => delete().prop_map(Command::Delete),
        3 => time().prop_map(|now| Command::Sync { now }),
        2 => members(),
        3 => auth().prop_map(Command::Auth),
    ]
}

pub fn key() -> impl Strategy<Value = Key> {
    let name = prop_oneof![
        4 => Just("a"),
        3 => Just("b"),
        1 => Just("ab"),
        2 => Just("_h"),
        1 => Just("ü \n"),
    ];
    vec(name, 0..4).prop_map(|names| Key::parse(names.join("/")).unwrap())
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just(&b"x"[..]), 3 => Just(&b"y"[..]), 2 => Just(&b""[..]), 1 => Just(&b"\xff\xfe"[..])]
        .prop_map(Bytes::from_static)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..12_u64).prop_map(Timestamp::from_unix_nanos)
}

fn put() -> impl Strategy<Value = Put> {
    let conditions = (
        option::weighted(0.4, any::<bool>()),
        option::weighted(0.2, value()),
        option::weighted(0.2, 0..25_u64),
    );
    let rest = (option::weighted(0.4, time()), proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    (key(), value(), conditions, rest).prop_map(
        |(key, value, (prev_exist, prev_value, prev_index), (expiration, dir, refresh))| Put {
            key,
            // Requests never have this: a refresh with a value.
            value: if refresh { Bytes::new() } else { value },
            dir,
            expiration,
            prev_exist,
            prev_value,
            prev_index,
            refresh,
        },
    )
}

fn post() -> impl Strategy<Value = Post> {
    (key(), value(), any::<bool>(), option::of(time())).prop_map(|(key, value, dir, expiration)| Post {
        key,
        value,
        dir,
        expiration,
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    let conditions = (option::weighted(0.2, value()), option::weighted(0.2, 0..25_u64));
    (key(), any::<bool>(), proptest::bool::weighted(0.3), conditions).prop_map(
        |(key, dir, recursive, (prev_value, prev_index))| Delete {
            key,
            dir,
            recursive,
            prev_value,
            prev_index,
        },
    )
}

fn members() -> impl Strategy<Value = Command> {
    let id = || 1..4_u64;
    let urls = || vec((1..5_u16).prop_map(|port| format!("http://h:{port}")), 0..3);
    let name = || prop_oneof![Just(String::new()), Just("n1".to_owned())];
    prop_oneof![
        4 => (id(), name(), urls(), urls()).prop_map(|(id, name, peer_urls, client_urls)| {
            Command::AddMember(Member { id, name, peer_urls, client_urls })
        }),
        1 => id().prop_map(|id| Command::RemoveMember { id }),
        2 => (id(), urls()).prop_map(|(id, peer_urls)| Command::UpdateMember { id, peer_urls }),
        2 => (id(), name(), urls())
            .prop_map(|(id, name, client_urls)| Command::PublishMember { id, name, client_urls }),
        1 => name().prop_map(|version| Command::SetClusterVersion { version }),
        2 => (id(), 7..9_u128, option::weighted(0.3, 7..9_u128))
            .prop_map(|(id, disk, instead_of)| Command::RecordDisk { id, disk, instead_of }),
    ]
}

fn auth() -> impl Strategy<Value = AuthCommand> {
    let name = || prop_oneof![Just("root"), Just("guest"), Just("u")].prop_map(str::to_owned);
    let roles = || vec(prop_oneof![Just("r"), Just("s"), Just("root")].prop_map(str::to_owned), 0..3);
    let password = option::weighted(0.7, Just(PasswordHash("hash".to_owned())));
    let patterns = || vec(prop_oneof![Just("/a*"), Just("/b"), Just("*")].prop_map(str::to_owned), 0..2);
    let permissions = move || {
        (patterns(), patterns()).prop_map(|(read, write)| Permissions { kv: KeyPermissions { read, write } })
    };
    prop_oneof![
        2 => Just(AuthCommand::Enable),
        2 => Just(AuthCommand::Disable),
        6 => (name(), password, roles(), roles(), roles()).prop_map(|(name, password, roles, grant, revoke)| {
            AuthCommand::PutUser { name, password, roles, grant, revoke }
        }),
        1 => name().prop_map(|name| AuthCommand::DeleteUser { name }),
        3 => (name(), permissions())
            .prop_map(|(name, permissions)| AuthCommand::CreateRole(Role { name, permissions })),
        3 => (name(), permissions(), permissions())
            .prop_map(|(name, grant, revoke)| AuthCommand::UpdateRole { name, grant, revoke }),
        1 => name().prop_map(|name| AuthCommand::DeleteRole { name }),
    ]
}
