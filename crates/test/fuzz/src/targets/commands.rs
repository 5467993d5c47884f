//! Commands from the replicated log, applied in sequence.

use crate::target::Target;
use etcd_store::{Command, Restore, Store};

pub const TARGET: Target = Target {
    name: "commands",
    about: "what decodes comes back as itself, is applied, and the state survives its checkpoint",
    run,
    seeds,
};

fn run(mut bytes: &[u8]) {
    let mut store = Store::new();
    while let Ok(command) = Command::decode(&mut bytes) {
        let mut again = Vec::new();
        command.encode(&mut again);
        assert_eq!(Command::decode(&mut &again[..]).as_ref(), Ok(&command), "it comes back as itself");
        let before = store.index();
        store.apply(&command);
        assert!(store.index() >= before, "the index never goes back");
    }
    round_trips(&store);
}

/// A state restored from a checkpoint yields the same checkpoint.
pub fn round_trips(store: &Store) {
    let mut restore = Restore::new();
    let records: Vec<_> = store.snapshot().records().collect();
    for record in &records {
        let bytes = record.bytes.as_deref().expect("a snapshot removes nothing");
        restore.add(record.table, record.key, bytes).expect("it reads what it wrote");
    }
    let again = restore.finish().expect("it restores what it wrote");
    assert!(again.snapshot().records().eq(records), "the restored state is the same");
}

fn seeds() -> Vec<Vec<u8>> {
    let bytes = |commands: &[Command]| {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| command.encode(&mut bytes));
        bytes
    };
    let all = samples();
    let mut seeds: Vec<_> = all.iter().map(|command| bytes(std::slice::from_ref(command))).collect();
    seeds.push(bytes(&all));
    seeds
}

/// One command of each kind.
pub fn samples() -> Vec<Command> {
    use etcd_api::{Key, Member, Permissions, Role, Timestamp};
    use etcd_store::{AuthCommand, Delete, PasswordHash, Post, Put};
    let key = |text: &'static str| Key::from_clean(text.into()).expect("a clean key");
    let now = Timestamp::from_unix_nanos(1_700_000_000_000_000_000);
    let put = Put {
        key: key("/a/b"),
        value: "v".into(),
        dir: false,
        expiration: Some(now),
        prev_exist: None,
        prev_value: None,
        prev_index: None,
        refresh: false,
    };
    let swap = Put { prev_value: Some("v".into()), prev_index: Some(1), expiration: None, ..put.clone() };
    let refresh = Put { prev_exist: Some(true), refresh: true, value: "".into(), ..put.clone() };
    let urls = || vec!["http://10.0.0.1:2380".to_owned()];
    let member = Member { id: 5, name: "m".into(), peer_urls: urls(), client_urls: urls() };
    let mut permissions = Permissions::default();
    permissions.kv.read = vec!["/a/*".into()];
    let user = AuthCommand::PutUser {
        name: "root".into(),
        password: Some(PasswordHash("$2a$".into())),
        roles: vec!["r".into()],
        grant: Vec::new(),
        revoke: Vec::new(),
    };
    let role = Role { name: "r".into(), permissions: permissions.clone() };
    let update =
        AuthCommand::UpdateRole { name: "r".into(), grant: permissions, revoke: Permissions::default() };
    let post = Post { key: key("/q"), value: "v".into(), dir: false, expiration: Some(now) };
    let delete = Delete { key: key("/a"), dir: true, recursive: true, prev_value: None, prev_index: None };
    let compared = Delete {
        key: key("/a/b"),
        dir: false,
        recursive: false,
        prev_value: Some("v".into()),
        ..delete.clone()
    };
    vec![
        Command::AddMember(member),
        Command::PublishMember { id: 5, name: "m".into(), client_urls: urls() },
        Command::SetClusterVersion { version: "2.3.0".into() },
        Command::Put(put),
        Command::Put(refresh),
        Command::Put(swap),
        Command::Post(post),
        Command::Delete(compared),
        Command::Auth(AuthCommand::CreateRole(role)),
        Command::Auth(user),
        Command::Auth(AuthCommand::Enable),
        Command::Auth(update),
        Command::Sync { now },
        Command::Delete(delete),
        Command::UpdateMember { id: 5, peer_urls: urls() },
        Command::Auth(AuthCommand::Disable),
        Command::Auth(AuthCommand::DeleteUser { name: "root".into() }),
        Command::Auth(AuthCommand::DeleteRole { name: "r".into() }),
        Command::RemoveMember { id: 5 },
    ]
}
