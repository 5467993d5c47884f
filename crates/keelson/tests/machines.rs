//! A machine and the real channel server, from `publish` to the next version and back from one that fails.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use folder_machine::{Machine, releases};
use serde_json::Value;
use update::status::Operation;
use update::trust::Wish;
use updater::{Checked, Done, Watch};

struct Quiet;

impl Watch for Quiet {
    fn operation(&self, _: Operation) {}
    fn found(&self, _: &str, _: u64) {}
    fn progress(&self, _: u64, _: u64) {}
    fn cancelled(&self) -> bool {
        false
    }
}

fn keelson(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keelson"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    command.current_dir(folder);
    command
}

struct Server {
    child: Child,
    folder: tempfile::TempDir,
    url: String,
}

impl Server {
    /// With the releases' own channel key.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = releases().keys.join("channel.key");
        let mut child = keelson(folder.path())
            .args(["serve-updates", "--listen", "127.0.0.1:0", "--json", "--key", key.to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !text.ends_with("}\n") {
            assert!(lines.read_line(&mut text).unwrap() > 0, "the server ended: {text}");
        }
        let value: Value = serde_json::from_str(&text).unwrap();
        Self { child, folder, url: value["url"].as_str().unwrap().to_owned() }
    }

    fn done(&self, words: &[&str]) -> String {
        let mut command = keelson(self.folder.path());
        let output = command.env("KEELSON_UPDATE_SERVER", &self.url).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn check(&self, machine: &Machine) -> Checked {
        let settings = machine.settings(&format!("GROUP=alpha\nSERVER={}v1/update/\n", self.url));
        machine.updater().check(&settings, false, Wish::default(), &Quiet)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed may have ended it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn reason(checked: &Checked) -> String {
    match &checked.done {
        Ok(Done::UpToDate(Some(reason))) => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_published_version_reaches_a_machine_and_one_that_fails_is_told() {
    let releases = releases();
    let server = Server::start();
    let machine = Machine::new();
    assert_eq!(reason(&server.check(&machine)), "no-package");
    server.done(&["publish", "--channel", "alpha", releases.made.folder.to_str().unwrap()]);
    let checked = server.check(&machine);
    assert!(matches!(&checked.done, Ok(Done::Installed { .. })), "{:?}", checked.done);
    machine.assert_sound();
    assert_eq!(machine.next(), "keelson_3.0.0+3-0.efi");
    let told = server.done(&["channel", "machines", "--json"]);
    assert!(told.contains("\"installed\""), "{told}");
    // It is booted three times in vain: the server hears of it, and offers it to this machine no more.
    machine.boot_image_becomes("3.0.0", "+0-3");
    machine.updater().note_failed().unwrap();
    let checked = server.check(&machine);
    assert!(!matches!(&checked.done, Ok(Done::Installed { .. })), "{:?}", checked.done);
    assert_eq!(machine.next(), "keelson_2.0.0.efi");
    let told = server.done(&["channel", "activity"]);
    assert!(told.contains("booted 3.0.0 and went back"), "{told}");
}
