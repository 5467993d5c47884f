//! State that runs share within one boot.

use std::path::Path;

use crate::support::Machine;

/// A path unit starts a run on each write to the file.
#[test]
fn file_is_applied_again_only_if_changed() {
    let machine = Machine::new();
    let (file, other) = (machine.path("/data"), machine.path("/other"));
    let run =
        |path: &Path| machine.start(&[&format!("-from-file={}", path.display()), "-if-changed"], &[], b"");
    let put = |path: &str, content: &str| {
        machine.put(path, &format!("#cloud-config\nwrite_files: [{{path: /etc/a, content: {content}}}]\n"));
    };
    let same = "Nothing changed: this user-data was applied";
    put("/data", "one");
    run(&file).expect(0, &["Wrote file"]);
    put("/etc/a", "by hand");
    run(&file).expect(0, &[same]);
    assert!(machine.read("/etc/a").contains("by hand"));
    put("/data", "two");
    run(&file).expect(0, &["Wrote file"]);
    // Each file has its own record.
    put("/other", "three");
    run(&other).expect(0, &["Wrote file"]);
    run(&file).expect(0, &[same]);
    put("/data", "one");
    run(&file).expect(0, &["Wrote file"]);
    assert_eq!(machine.read("/etc/a"), "one");
    // Without the flag it is applied as at each boot.
    machine.put("/etc/a", "by hand");
    machine.start(&[&format!("-from-file={}", file.display())], &[], b"").expect(0, &["Wrote file"]);
    // The persisted file is recorded as applied under its own path.
    machine.start(&[&format!("-from-file={}", file.display()), "-persist"], &[], b"").expect(0, &["Keeping"]);
    let persisted = &cloudinit::plan::sha256(b"/var/lib/coreos-install/user_data")[..32];
    let hash = cloudinit::plan::sha256(&std::fs::read(&file).unwrap());
    assert_eq!(machine.read(&format!("/run/coreos-cloudinit/files/{persisted}")), format!("{hash}\n"));
}

/// It may have been killed before anything was written; the same file must be applied again.
#[test]
fn killed_run_is_not_recorded_as_applied() {
    let machine = Machine::new();
    machine
        .put("/data", "#cloud-config\nusers: [{name: elroy}]\nwrite_files: [{path: /etc/a, content: one}]\n");
    let file = format!("-from-file={}", machine.path("/data").display());
    let run = || machine.start(&[&file, "-if-changed", "-root-run"], &[], b"");
    machine.program("useradd", "kill -9 $PPID");
    let killed = run();
    // Killed by a signal.
    assert_eq!(killed.code, -1, "{}", killed.stderr);
    assert!(!machine.has("/etc/a"), "it was killed too late");
    machine.record("useradd", 0);
    run().expect(0, &["Wrote file"]);
    assert_eq!((machine.read("/etc/a"), machine.recorded().len()), ("one".to_owned(), 1));
    run().expect(0, &["Nothing changed"]);
}

/// With a drive and a file read at the same time, the user-data's hostname wins.
#[test]
fn user_data_hostname_overrides_later_metadata() {
    let machine = Machine::new();
    machine.put("/drive/openstack/latest/meta_data.json", "{\"hostname\": \"from-metadata.example\"}");
    let drive = format!("-from-configdrive={}", machine.path("/drive").display());
    let name = || machine.read("/etc/hostname");
    machine.start(&[&drive], &[], b"").expect(0, &[]);
    assert_eq!(name(), "from-metadata\n");
    machine.run("#cloud-config\nhostname: from-the-user\n", &[]).expect(0, &[]);
    assert_eq!(name(), "from-the-user\n");
    let expected =
        "hostname (from-the-user) of user-data from elsewhere overrides metadata hostname (from-metadata)";
    machine.start(&[&drive], &[], b"").expect(0, &[expected, "Nothing changed"]);
    assert_eq!(name(), "from-the-user\n");
    machine.put("/drive/openstack/latest/user_data", "#cloud-config\nhostname: from-the-drive\n");
    machine.start(&[&drive], &[], b"").expect(0, &[]);
    assert_eq!(name(), "from-the-drive\n");
    // A reboot clears the state.
    std::fs::remove_dir_all(machine.path("/run")).unwrap();
    machine.put("/drive/openstack/latest/user_data", "");
    machine.start(&[&drive], &[], b"").expect(0, &[]);
    assert_eq!(name(), "from-metadata\n");
}

/// `keelson up --provision` applies a file; the operator's key from the drive must stay.
#[test]
fn metadata_keys_are_kept_when_a_file_has_others() {
    let machine = Machine::new();
    machine.put(
        "/drive/openstack/latest/meta_data.json",
        "{\"public_keys\": {\"cluster\": \"ssh-ed25519 AAAA cluster\"}}",
    );
    machine.put(
        "/drive/openstack/latest/user_data",
        "#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAA mine]\n",
    );
    let drive = format!("-from-configdrive={}", machine.path("/drive").display());
    let keys = || machine.read("/home/core/.ssh/authorized_keys.d/coreos-cloudinit");
    machine.start(&[&drive], &[], b"").expect(0, &[]);
    assert_eq!(keys(), "ssh-ed25519 AAAA mine\nssh-ed25519 AAAA cluster\n");
    machine.run("#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAA other]\n", &[]).expect(0, &[]);
    assert_eq!(keys(), "ssh-ed25519 AAAA other\nssh-ed25519 AAAA cluster\n");
    machine.run("#cloud-config\nhostname: a\n", &[]).expect(0, &[]);
    assert_eq!(keys(), "ssh-ed25519 AAAA other\nssh-ed25519 AAAA cluster\n");
    // A reboot clears the state.
    std::fs::remove_dir_all(machine.path("/run")).unwrap();
    machine.run("#cloud-config\nssh_authorized_keys: [ssh-ed25519 AAAA last]\n", &[]).expect(0, &[]);
    assert_eq!(keys(), "ssh-ed25519 AAAA last\n");
}
