//! A simulated machine and the real channel server: from `publish` to an update and back from one that fails.

use std::path::Path;
use std::process::{Child, Output};
use std::time::Duration;

use folder_machine::{Images, Machine, Releases, release, releases};
use release_folder::secret_key_path;
use update_core::roots::version;
use update_core::status::Operation;
use update_core::trust::UpdateOptions;
use update_engine::{
    CheckOutcome, Failure, ImageFiles, Isolation, MachineSpec, Observer, Outcome, PublishedRelease,
    RetryPolicy, TrustStore,
};

use crate::support::{keelson, serve_updates};

struct Quiet;

impl Observer for Quiet {
    fn operation(&self, _: Operation) {}
    fn found(&self, _: &str, _: u64) {}
    fn progress(&self, _: u64, _: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}

struct Server {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Server {
    /// With the channel key of the test releases.
    fn start() -> Self {
        Self::with_key(&secret_key_path(&releases().keys, "channel"))
    }

    fn with_key(key: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, url) = serve_updates(folder.path(), &["--key", key.to_str().unwrap()]);
        Self { child, folder, url }
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fail(&self, arguments: &[&str], expect: &str) {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains(expect), "{arguments:?}: {error}");
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = keelson(self.folder.path());
        command.env("KEELSON_UPDATE_SERVER", &self.url).args(arguments).output().unwrap()
    }

    fn check(&self, machine: &Machine) -> CheckOutcome {
        let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}v1/update/\n", self.url));
        machine.updater().check(&settings, false, UpdateOptions::default(), &Quiet)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test may have killed it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn reason(checked: &CheckOutcome) -> String {
    match &checked.outcome {
        Ok(Outcome::UpToDate(Some(reason))) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_machine_installs_a_published_version_and_reports_a_failed_one() {
    let releases = releases();
    let server = Server::start();
    let machine = Machine::new();
    assert_eq!(reason(&server.check(&machine)), "no-package");
    server.succeed(&["publish", "--channel", "alpha", releases.with_delta.folder.to_str().unwrap()]);
    let checked = server.check(&machine);
    assert!(matches!(&checked.outcome, Ok(Outcome::Installed { .. })), "{:?}", checked.outcome);
    machine.assert_bootable();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
    let output = server.succeed(&["channel", "machines", "--json"]);
    assert!(output.contains("\"installed\""), "{output}");
    // After three failed boots the server is notified and does not offer the version to this machine again.
    machine.set_tries("3.0.0", "+0-3");
    machine.updater().record_outcomes().unwrap();
    let checked = server.check(&machine);
    assert!(!matches!(&checked.outcome, Ok(Outcome::Installed { .. })), "{:?}", checked.outcome);
    assert_eq!(machine.next_boot(), "keelson_2.0.0.efi");
    let output = server.succeed(&["channel", "activity"]);
    assert!(output.contains("booted 3.0.0 and rolled back"), "{output}");
}

const APP: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";
const PATIENCE: RetryPolicy =
    RetryPolicy { attempts: 2, pause: Duration::from_millis(10), limit: Duration::from_secs(3600) };

/// Counts fetched bytes; may cancel the download at a limit.
#[derive(Default)]
struct Counting {
    fetched: std::sync::atomic::AtomicU64,
    stop_at: Option<u64>,
}

impl Observer for Counting {
    fn operation(&self, _: Operation) {}
    fn found(&self, _: &str, _: u64) {}
    fn progress(&self, done: u64, _: u64) {
        self.fetched.store(done, std::sync::atomic::Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.stop_at.is_some_and(|at| self.fetched() >= at)
    }
}

impl Counting {
    fn fetched(&self) -> u64 {
        self.fetched.load(std::sync::atomic::Ordering::Relaxed)
    }
}

struct Fetched(tempfile::TempDir);

impl Fetched {
    fn fetch(&self, published: &PublishedRelease, watch: &Counting) -> Result<(), Failure> {
        let [usr, verity, uki] = ["usr", "verity", "uki"].map(|name| self.0.path().join(name));
        published.fetch(ImageFiles { usr: &usr, verity: &verity, uki: &uki }, watch)
    }

    fn matches(&self, images: &Images) -> bool {
        [("usr", &images.usr), ("verity", &images.tree), ("uki", &images.uki)]
            .into_iter()
            .all(|(name, wanted)| std::fs::read(self.0.path().join(name)).unwrap() == *wanted)
    }
}

fn root(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("1.root.json")).unwrap()
}

fn published(server: &Server, channel: &str, root: &[u8]) -> Result<PublishedRelease, Failure> {
    let query = MachineSpec { appid: APP, board: "amd64-usr", channel };
    PublishedRelease::from_server(
        &format!("{}files/keelson", server.url),
        None,
        query,
        root,
        PATIENCE,
        &Isolation::InProcess,
    )
}

/// The download of `up --channel`.
#[test]
fn new_machines_download_a_published_version() {
    let releases = releases();
    let Releases { with_delta, new, .. } = &*releases;
    let server = Server::start();
    let trusted = root(&releases.keys);
    let refused = |channel: &str, root: &[u8]| published(&server, channel, root).err().unwrap().message;
    assert!(refused("alpha", &trusted).contains("timestamp.json: the repository does not have it"));
    server.succeed(&["publish", "--channel", "alpha", with_delta.folder.to_str().unwrap()]);
    // A paused rollout does not affect it.
    server.succeed(&["channel", "pause", "alpha"]);
    for channel in ["beta", "gamma"] {
        let expected = format!("channel {channel} has no version for amd64-usr");
        assert!(refused(channel, &trusted).contains(&expected));
    }
    let foreign = tempfile::tempdir().unwrap();
    release_folder::create_unencrypted(foreign.path(), "foreign", 4_000_000_000).unwrap();
    let unsigned = "timestamp.json: signed by 0 of 1 keys of role timestamp";
    assert!(refused("alpha", &root(foreign.path())).contains(unsigned));
    let found = published(&server, "alpha", &trusted).unwrap();
    assert_eq!(found.release.version, new.version);

    let fetched = Fetched(tempfile::tempdir().unwrap());
    let half = Counting { stop_at: Some(found.release.full.blob.size / 2), ..Counting::default() };
    fetched.fetch(&found, &half).unwrap_err();
    let rest = Counting::default();
    fetched.fetch(&found, &rest).unwrap();
    assert!(fetched.matches(new), "what was published, to the byte");
    let blob = found.release.full.blob.size;
    assert!(rest.fetched() < blob, "{} of {blob} bytes: what was there is not fetched again", rest.fetched());
    let nothing = Counting::default();
    fetched.fetch(&found, &nothing).unwrap();
    assert_eq!(nothing.fetched(), 0);
    let usr = fetched.0.path().join("usr");
    let mut bytes = std::fs::read(&usr).unwrap();
    bytes[20_000_000] ^= 1;
    std::fs::write(&usr, bytes).unwrap();
    let repaired = Counting::default();
    fetched.fetch(&found, &repaired).unwrap();
    assert!(fetched.matches(new) && repaired.fetched() > 0 && repaired.fetched() < blob);
    // The same from a server's data folder, while the server runs.
    let data = server.folder.path().join(".local/state/keelson/updates");
    let folder = channel_server::release_folder(&data, APP, "alpha", None).unwrap();
    let metadata = channel_server::metadata_folder(&data, APP).unwrap();
    let query = MachineSpec { appid: APP, board: "amd64-usr", channel: "alpha" };
    let found =
        PublishedRelease::from_folder(&folder, &metadata, query, &trusted, &Isolation::InProcess).unwrap();
    let copy = Fetched(tempfile::tempdir().unwrap());
    copy.fetch(&found, &Counting::default()).unwrap();
    assert!(copy.matches(new));
    let other = MachineSpec { channel: "beta", ..query };
    assert!(
        PublishedRelease::from_folder(&folder, &metadata, other, &trusted, &Isolation::InProcess).is_err(),
        "it is signed for alpha alone"
    );
}

#[test]
fn a_changed_byte_of_what_is_published_is_never_used() {
    let releases = releases();
    let server = Server::start();
    server.succeed(&["publish", "--channel", "alpha", releases.full_only.folder.to_str().unwrap()]);
    let trusted = root(&releases.keys);
    let at = server.folder.path().join(".local/state/keelson/updates/releases");
    let blob = files(&at)
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "blob"))
        .unwrap();
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let found = published(&server, "alpha", &trusted).unwrap();
    let fetched = Fetched(tempfile::tempdir().unwrap());
    let failure = fetched.fetch(&found, &Counting::default()).unwrap_err();
    assert!(failure.message.contains("does not match its signed hash"), "{failure}");
    assert!(!fetched.matches(&releases.new));
}

/// All files below a folder, recursively.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// A stolen release key is revoked with two of the three root keys, which are stored in different places. The machine
/// follows the new root, refuses what the thief signs, and installs what the new key signed.
#[test]
fn an_operator_rotates_and_a_machine_follows() {
    let releases = releases();
    let work = tempfile::tempdir().unwrap();
    let (keys, safe, stolen) =
        (work.path().join("keys"), work.path().join("safe"), work.path().join("stolen"));
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| -> String {
        let output = keelson(work.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["keys", "--out", &at(&keys), "--name", "test", "--no-password"]);
    folder_machine::copy(&keys, &stolen);
    // Two of the root keys are stored elsewhere.
    std::fs::create_dir(&safe).unwrap();
    for name in ["root-2.key", "root-3.key"] {
        std::fs::rename(keys.join(name), safe.join(name)).unwrap();
        std::fs::remove_file(stolen.join(name)).unwrap();
    }
    let machine = Machine::new();
    machine.set_image_root(&root(&keys));
    let server = Server::with_key(&secret_key_path(&keys, "channel"));
    let good = release(&releases.new, &keys, &[], &work.path().join("good")).folder;
    server.succeed(&["publish", "--channel", "alpha", &at(&good)]);
    server.succeed(&["keys", "publish", "--keys", &at(&keys)]);

    let output = run(&["keys", "rotate", "--keys", &at(&keys), "--replace", "release", "--no-password"]);
    assert!(output.contains("1 of root-2, root-3 (root keys of version 1) must sign"), "{output}");
    server.fail(&["keys", "publish", "--keys", &at(&keys)], "root version 2 is not fully signed");
    // A copy is signed in the other place; only its signature is added.
    for name in ["1.root.json", "2.root.json"] {
        std::fs::copy(keys.join(name), safe.join(name)).unwrap();
    }
    let copy = at(&safe.join("2.root.json"));
    run(&["keys", "sign", &copy, "--key", &at(&safe.join("root-3.key"))]);
    let output = run(&["keys", "sign", &at(&keys.join("2.root.json")), "--collect", &copy]);
    assert!(
        output.contains("signed by root-1, root-3 of root version 1")
            && output.contains("targets version 3, 1 release, signed by test.v2")
            && output.contains("Next: keelson keys publish"),
        "{output}"
    );
    let output = server.succeed(&["keys", "publish", "--keys", &at(&keys)]);
    let expected =
        "published root version 2 and targets version 3; machines accept them at their next check\n";
    assert_eq!(output, expected);

    // The thief has the release key, and not two root keys.
    let evil = release(&Images::new("4.0.0"), &stolen, &[], &work.path().join("evil")).folder;
    server.fail(&["publish", "--channel", "alpha", &at(&evil)], "targets.json does not list version 4.0.0");
    let checked = server.check(&machine);
    assert!(matches!(&checked.outcome, Ok(Outcome::Installed { .. })), "{:?}", checked.outcome);
    machine.assert_bootable();
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
    let updater = machine.updater();
    let settings = machine.settings("GROUP=alpha\n");
    assert_eq!(version(TrustStore::open(&updater.paths, &settings).unwrap().root()), 2);
    let failure = updater.apply(&settings, &evil, UpdateOptions::default(), &Quiet).unwrap_err();
    assert!(failure.message.contains("targets.json: signed by 0 of 1 keys of role targets"), "{failure}");
    assert_eq!(machine.next_boot(), "keelson_3.0.0+3-0.efi");
    // A new machine with the first root follows as well.
    assert_eq!(published(&server, "alpha", &root(&keys)).unwrap().release.version, releases.new.version);
}
