//! The attacks that the specification lists (section 1.5.2). Slow retrieval and malicious mirrors are the transport's
//! and its caller's: the library reads nothing itself.

use tuf::{Fetch, File, MetaFile, TargetFile};

use crate::simulator::*;

const PATH: &str = "releases/1.2.3/release.json";

fn with_release() -> (Simulator, Machine) {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    repository.add_target(TARGETS, PATH, b"good");
    repository.publish(&UPDATE);
    machine.refresh(&mut repository).unwrap();
    (repository, machine)
}

#[test]
fn arbitrary_software_other_bytes() {
    let (mut repository, mut machine) = with_release();
    repository.replace_target("release.json", b"evil");
    refused(machine.download(&mut repository, PATH), "another sha256 digest");
    assert!(machine.downloaded.is_empty());
}

#[test]
fn arbitrary_software_signed_by_unknown_keys() {
    let (mut repository, mut machine) = with_release();
    let trusted = machine.store.clone();
    let unknown = repository.new_keys(1);
    for role in TOP {
        // Each role alone, then everything the attacker can sign.
        let own = repository.signers.insert(role.to_owned(), unknown.clone()).unwrap();
        repository.publish(&ALL);
        refused(machine.refresh(&mut repository), &format!("signed by 0 of 1 keys of role {role}"));
        for role in TOP {
            repository.published.get_mut(role).unwrap().pop();
            let version = repository.published[role].len() as u64;
            repository.set_version(role, version);
        }
        repository.snapshot.meta.insert("targets.json".to_owned(), MetaFile::version(number(2)));
        repository.timestamp.meta.insert("snapshot.json".to_owned(), MetaFile::version(number(2)));
        repository.signers.insert(role.to_owned(), own);
        machine.store = trusted.clone();
    }
    for role in TOP {
        repository.set_keys(role, unknown.clone(), 1);
    }
    repository.publish(&ALL);
    refused(machine.refresh(&mut repository), "2.root.json: signed by 0 of 1 keys of role root");
    assert_eq!(machine.store, trusted);
}

#[test]
fn rollback_of_every_role() {
    let (mut repository, mut machine) = with_release();
    let old = repository.published.clone();
    repository.publish(&ALL);
    machine.refresh(&mut repository).unwrap();
    let trusted = machine.store.clone();
    // Everything as it once was, signed and not expired.
    repository.published = old;
    refused(machine.refresh(&mut repository), "timestamp.json: rollback: version 2, 3 is trusted");
    assert_eq!(machine.store, trusted);
}

#[test]
fn indefinite_freeze() {
    let (mut repository, mut machine) = with_release();
    machine.now = NOW + 30 * DAY - 1;
    machine.refresh(&mut repository).unwrap();
    machine.now += 1;
    // The same files, without end.
    refused(machine.refresh(&mut repository), "expired at");
    repository.root.header.expires = date(NOW + 99 * DAY);
    repository.publish(&[ROOT]);
    refused(machine.refresh(&mut repository), "timestamp.json: expired at");
}

#[test]
fn freeze_by_an_expired_file_of_each_role_of_the_same_version() {
    for role in [SNAPSHOT, TARGETS] {
        let mut repository = Simulator::new();
        let mut machine = Machine::new(&repository);
        match role {
            SNAPSHOT => repository.snapshot.header.expires = date(NOW + DAY),
            _ => repository.top_targets().header.expires = date(NOW + DAY),
        }
        repository.publish(&UPDATE);
        machine.refresh(&mut repository).unwrap();
        machine.now += 2 * DAY;
        refused(machine.refresh(&mut repository), &format!("2.{role}.json: expired at"));
    }
}

#[test]
fn mix_and_match_of_two_snapshots() {
    for hashes in [false, true] {
        let mut repository = Simulator::new();
        let mut machine = Machine::new(&repository);
        repository.lists_hashes = hashes;
        repository.publish(&UPDATE);
        let older = [2, 2].map(|version: usize| version - 1);
        repository.publish(&UPDATE);
        // Targets of the older snapshot under the name of the newer one.
        let file = repository.published[TARGETS][older[0]].clone();
        repository.forged.insert("3.targets.json".to_owned(), file);
        let expected = if hashes { "another sha256 digest" } else { "version 2, expected 3" };
        refused(machine.refresh(&mut repository), expected);
        repository.forged.clear();
        let file = repository.published[SNAPSHOT][older[1]].clone();
        repository.forged.insert("3.snapshot.json".to_owned(), file);
        let mut other = Machine::new(&repository);
        refused(other.refresh(&mut repository), expected);
        assert_eq!((machine.version(TARGETS), other.version(SNAPSHOT)), (None, None));
    }
}

#[test]
fn wrong_software_one_target_for_another() {
    let (mut repository, mut machine) = with_release();
    repository.add_target(TARGETS, "other", b"GOOD");
    repository.publish(&UPDATE);
    // A trusted file, but not the one that the client wants.
    repository.replace_target("release.json", b"GOOD");
    refused(machine.download(&mut repository, PATH), "another sha256 digest");
}

#[test]
fn wrong_software_of_another_role_or_kind() {
    let (mut repository, mut machine) = with_release();
    // A role's file under the name of another role that the same key signs.
    repository.delegate(TARGETS, "a", true, patterns(&["a/*"]));
    repository.delegate(TARGETS, "b", true, patterns(&["b/*"]));
    let key = repository.signers["a"].clone();
    repository.signers.insert("b".to_owned(), key.clone());
    use tuf::Signer as _;
    repository.delegations(TARGETS).roles[1].keyids = vec![key[0].key().id()];
    repository.add_target("a", "a/x", b"of a");
    repository.add_target("a", "b/x", b"of a");
    repository.publish(&["a", "b", TARGETS, SNAPSHOT, TIMESTAMP]);
    machine.download(&mut repository, "a/x").unwrap();
    // `a` describes it, but is trusted with other paths.
    refused(machine.download(&mut repository, "b/x"), "does not have it");
    let snapshot = repository.published[SNAPSHOT][2].clone();
    repository.forged.insert("1.b.json".to_owned(), snapshot);
    machine.store.0.remove("b");
    refused(machine.download(&mut repository, "b/y"), "1.b.json: _type `snapshot`, expected `targets`");
}

/// A server that never ends. It reads only what the limit allows, as a transport must.
struct Endless<'a>(&'a mut Simulator, &'static str);

impl Fetch for &mut Endless<'_> {
    fn fetch(
        &mut self,
        file: File<'_>,
        max_bytes: u64,
    ) -> Result<Option<Vec<u8>>, Box<dyn std::error::Error + Send + Sync>> {
        let (File::Metadata(path) | File::Target(path)) = file;
        if !path.ends_with(self.1) {
            return Fetch::fetch(&mut &mut *self.0, file, max_bytes);
        }
        assert!(max_bytes <= 5 << 20, "{path}: {max_bytes}");
        Ok(Some(vec![b' '; usize::try_from(max_bytes).unwrap() + 1]))
    }
}

#[test]
fn endless_data_of_every_file() {
    for (file, limit) in [
        ("2.root.json", 512 << 10),
        ("timestamp.json", 16 << 10),
        ("2.snapshot.json", 2 << 20),
        ("2.targets.json", 5 << 20),
        ("release.json", 4),
    ] {
        let (mut repository, _) = with_release();
        let mut machine = Machine::new(&repository);
        let result = machine.download(&mut Endless(&mut repository, file), PATH);
        refused(result, &format!("more than {limit} bytes"));
    }
}

#[test]
fn endless_data_ends_at_the_listed_length() {
    let mut repository = Simulator::new();
    repository.lists_hashes = true;
    repository.add_target(TARGETS, PATH, b"good");
    repository.publish(&UPDATE);
    for file in ["2.snapshot.json", "2.targets.json"] {
        let role = &file[2..file.len() - 5];
        let length = repository.latest(role).len();
        let mut machine = Machine::new(&repository);
        let result = machine.refresh(&mut Endless(&mut repository, file));
        refused(result, &format!("{file}: more than {length} bytes"));
    }
}

#[test]
fn endless_data_of_a_target_is_noticed_while_it_arrives() {
    let (mut repository, mut machine) = with_release();
    let target = machine.find(&mut repository, PATH).unwrap().unwrap();
    let mut hasher = target.hasher();
    hasher.update(b"go").unwrap();
    hasher.update(b"od").unwrap();
    assert_eq!(hasher.update(b"!").unwrap_err().to_string(), "5 bytes, expected 4");
    let mut hasher = target.hasher();
    hasher.update(b"goo").unwrap();
    assert_eq!(hasher.finish().unwrap_err().to_string(), "3 bytes, expected 4");
}

/// More roots, and more delegations, than anybody needs.
#[test]
fn endless_chains_are_limited() {
    let mut repository = Simulator::new();
    let mut machine = Machine::new(&repository);
    (0..300).for_each(|_| repository.publish(&[ROOT]));
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(ROOT), Some(257));
    repository.delegate(TARGETS, "0", false, patterns(&["*"]));
    for number in 0..50 {
        repository.delegate(&number.to_string(), &(number + 1).to_string(), false, patterns(&["*"]));
    }
    for number in 0..=50 {
        repository.publish(&[&number.to_string()]);
    }
    repository.publish(&UPDATE);
    refused(machine.find(&mut repository, "x"), "more than 32 roles are delegated to");
}

/// A file that another one needs is a target as every other: its digest is signed.
#[test]
fn extraneous_dependencies() {
    let (mut repository, mut machine) = with_release();
    repository.files.insert("extra".to_owned(), b"extra".to_vec());
    refused(machine.download(&mut repository, "extra"), "does not have it");
    assert!(repository.downloads.is_empty());
}

#[test]
fn fast_forward_ends_with_new_keys() {
    let (mut repository, mut machine) = with_release();
    // The attacker has both online keys, and the largest version.
    repository.set_version(TIMESTAMP, u64::MAX - 1);
    repository.set_version(SNAPSHOT, u64::MAX - 1);
    repository.publish(&[SNAPSHOT]);
    let latest = repository.latest(SNAPSHOT).clone();
    repository.forged.insert(format!("{}.snapshot.json", u64::MAX), latest);
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.version(TIMESTAMP), Some(u64::MAX));
    repository.rotate_key(TIMESTAMP);
    repository.rotate_key(SNAPSHOT);
    for role in [SNAPSHOT, TIMESTAMP] {
        repository.withdraw(role);
        repository.set_version(role, 1);
    }
    repository.publish(&[ROOT, SNAPSHOT, TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [2, 1, 1, 2]);
}

#[test]
fn key_compromise_of_the_online_keys_cannot_sign_software() {
    let (mut repository, mut machine) = with_release();
    let online = [repository.signers[TIMESTAMP].clone(), repository.signers[SNAPSHOT].clone()].concat();
    repository.signers.insert(TARGETS.to_owned(), online);
    repository.add_target(TARGETS, PATH, b"evil");
    repository.publish(&UPDATE);
    refused(machine.download(&mut repository, PATH), "3.targets.json: signed by 0 of 1 keys of role targets");
}

#[test]
fn key_compromise_below_the_threshold_signs_nothing() {
    let mut repository = Simulator::new();
    let keys = repository.new_keys(3);
    repository.withdraw(ROOT);
    repository.set_keys(ROOT, keys.clone(), 2);
    repository.set_version(ROOT, 1);
    repository.publish(&[ROOT]);
    let mut machine = Machine::new(&repository);
    machine.refresh(&mut repository).unwrap();
    let stolen = keys[..1].to_vec();
    repository.set_keys(ROOT, stolen, 1);
    repository.publish(&[ROOT]);
    refused(machine.refresh(&mut repository), "2.root.json: signed by 1 of 2 keys of role root");
}

#[test]
fn key_compromise_ends_with_the_next_root() {
    let (mut repository, mut machine) = with_release();
    let stolen = repository.signers[TARGETS].clone();
    repository.rotate_key(TARGETS);
    repository.publish(&ALL);
    machine.refresh(&mut repository).unwrap();
    repository.signers.insert(TARGETS.to_owned(), stolen);
    repository.add_target_file(TARGETS, PATH, TargetFile::of(b"evil"), b"evil");
    repository.publish(&UPDATE);
    refused(machine.download(&mut repository, PATH), "signed by 0 of 1 keys of role targets");
}

/// Whatever an attack leaves, the honest repository ends it.
#[test]
fn a_refused_update_does_not_prevent_the_next_one() {
    let (mut repository, mut machine) = with_release();
    repository.publish(&ALL);
    for file in ["2.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json"] {
        for bytes in [&b""[..], b"{", b"{}", b"null", b"\xff", b"[[[["] {
            repository.forged.insert(file.to_owned(), bytes.to_vec());
            refused(machine.refresh(&mut repository), &format!("cannot accept {file}: "));
        }
        repository.forged.clear();
    }
    machine.refresh(&mut repository).unwrap();
    assert_eq!(machine.versions(), [2, 3, 3, 3]);
}

#[test]
fn target_paths_that_lead_elsewhere_are_not_fetched() {
    let (mut repository, mut machine) = with_release();
    for path in ["../x", "/etc/x", "a//b", "a/./b"] {
        repository.top_targets().targets.insert(path.to_owned(), TargetFile::of(b"x"));
        repository.publish(&UPDATE);
        refused(machine.download(&mut repository, path), "expected names separated by single `/`");
    }
    assert!(repository.downloads.is_empty());
}

#[test]
fn a_stolen_timestamp_key_cannot_freeze_a_client_for_years() {
    let (mut repository, mut machine) = with_release();
    machine.limits.timestamp_validity = Some(8 * 86_400);
    repository.timestamp.header.expires = date(NOW + 8 * DAY);
    repository.publish(&[TIMESTAMP]);
    machine.refresh(&mut repository).unwrap();
    repository.timestamp.header.expires = date(NOW + 8 * DAY + 1);
    repository.publish(&[TIMESTAMP]);
    refused(
        machine.refresh(&mut repository),
        "timestamp.json: valid until 2027-01-23T08:00:01Z, which is more than",
    );
    assert_eq!(machine.version(TIMESTAMP), Some(3));
}
