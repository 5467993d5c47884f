//! Permissions, by kv.md 2.4.

use etcd_api::{Key, KeyPermissions, Permissions, Role};
use etcd_store::{Access, AuthCommand, AuthError, Command, CommandError, PasswordHash, Store};

fn apply(store: &mut Store, command: AuthCommand) -> Result<u64, AuthError> {
    let outcome = store.apply(&Command::Auth(command));
    match outcome.result {
        Ok(_) => Ok(outcome.index),
        Err(CommandError::Auth(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

fn user(name: &str, roles: &[&str]) -> AuthCommand {
    let roles = roles.iter().map(|role| (*role).to_owned()).collect();
    let password = Some(PasswordHash("$2a$10$secret".to_owned()));
    AuthCommand::PutUser { name: name.to_owned(), password, roles, grant: Vec::new(), revoke: Vec::new() }
}

fn permissions(read: &[&str], write: &[&str]) -> Permissions {
    let texts = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    Permissions { kv: KeyPermissions { read: texts(read), write: texts(write) } }
}

fn enabled() -> Store {
    let mut store = Store::new();
    let role = |name: &str, permissions| AuthCommand::CreateRole(Role { name: name.to_owned(), permissions });
    apply(&mut store, role("app", permissions(&["/app*", "/exact"], &["/app/*"]))).unwrap();
    apply(&mut store, user("u", &["app", "no-such-role"])).unwrap();
    assert_eq!(apply(&mut store, AuthCommand::Enable), Err(AuthError::NoRootUser));
    apply(&mut store, user("root", &[])).unwrap();
    assert!(store.auth().allows(None, &Key::root(), true, Access::Write), "auth is off");
    // The guest role, and enabling auth.
    assert_eq!(apply(&mut store, AuthCommand::Enable), Ok(5));
    assert_eq!(apply(&mut store, AuthCommand::Enable), Err(AuthError::AlreadyEnabled));
    store
}

#[test]
fn patterns_decide() {
    let mut store = enabled();
    assert!(store.auth().allows(None, &Key::root(), true, Access::Write), "the guest may all at first");
    let guest = AuthCommand::UpdateRole {
        name: "guest".to_owned(),
        grant: permissions(&["/public/*"], &[]),
        revoke: permissions(&["/*"], &["/*"]),
    };
    apply(&mut store, guest).unwrap();
    let check = |user: Option<&str>, path: &str, recursive: bool, read: bool, write: bool| {
        let key = Key::parse(path).unwrap();
        let allowed =
            [Access::Read, Access::Write].map(|access| store.auth().allows(user, &key, recursive, access));
        assert_eq!(allowed, [read, write], "{user:?} {path} recursive: {recursive}");
    };
    check(Some("root"), "/", true, true, true);
    check(Some("u"), "/app", false, true, false);
    check(Some("u"), "/app", true, true, false);
    check(Some("u"), "/app/x", false, true, true);
    check(Some("u"), "/app/x", true, true, true);
    check(Some("u"), "/apple", false, true, false);
    check(Some("u"), "/exact", false, true, false);
    check(Some("u"), "/exact", true, false, false);
    check(Some("u"), "/exact/x", false, false, false);
    check(Some("u"), "/", false, false, false);
    check(Some("gone"), "/app", false, false, false);
    check(None, "/public/x", false, true, false);
    check(None, "/public", false, false, false);
    check(None, "/app", false, false, false);
}

#[test]
fn only_the_root_role_rules() {
    let mut store = Store::new();
    assert!(store.auth().is_root(None), "auth is off");
    store = enabled();
    assert!(store.auth().is_root(Some("root")));
    assert!(
        !store.auth().is_root(Some("u"))
            && !store.auth().is_root(None)
            && !store.auth().is_root(Some("gone"))
    );
    let delete = |name: &str| AuthCommand::DeleteUser { name: name.to_owned() };
    assert_eq!(apply(&mut store, delete("root")), Err(AuthError::RootUserNeeded));
    assert_eq!(apply(&mut store, delete("gone")).unwrap_err().to_string(), "auth: User gone does not exist");
    apply(&mut store, AuthCommand::Disable).unwrap();
    apply(&mut store, delete("root")).unwrap();
    assert_eq!(apply(&mut store, AuthCommand::Disable), Err(AuthError::AlreadyDisabled));
}

/// python-etcd removes root's role whenever it writes the user, which would lock everybody out.
#[test]
fn root_always_keeps_its_role() {
    let mut store = Store::new();
    let change = |password: Option<&str>, roles: &[&str], revoke: &[&str]| AuthCommand::PutUser {
        name: "root".to_owned(),
        password: password.map(|text| PasswordHash(text.to_owned())),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        grant: Vec::new(),
        revoke: revoke.iter().map(|role| (*role).to_owned()).collect(),
    };
    apply(&mut store, change(Some("one"), &[], &[])).unwrap();
    for _ in 0..2 {
        apply(&mut store, change(Some("two"), &[], &["root"])).unwrap();
        assert_eq!(store.auth().user("root").unwrap().roles, ["root"]);
    }
    apply(&mut store, AuthCommand::Enable).unwrap();
    assert!(store.auth().is_root(Some("root")));
    assert!(store.auth().allows(Some("root"), &Key::root(), true, Access::Write));
}

#[test]
fn debug_omits_password_hashes() {
    let store = enabled();
    let formatted = format!("{store:?} {:?}", user("u", &[]));
    assert!(formatted.contains("PasswordHash(..)") && !formatted.contains("secret"));
    assert_eq!(store.auth().user("u").unwrap().password.0, "$2a$10$secret");
    assert_eq!(
        store.auth().roles().map(|role| role.name.as_str()).collect::<Vec<_>>(),
        ["app", "guest", "root"]
    );
}
