//! The command line as scripts use it: exit codes, stdout and stderr.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::keelson;

/// Checks the exit code, a part of stderr, and that failures print nothing to stdout.
fn check(arguments: &[&str], code: i32, error: &str) {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let output = keelson(folder.path()).args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(stderr.contains(error), "{arguments:?}: {stderr}");
    if code != 0 {
        assert!(output.stdout.is_empty(), "{arguments:?}: a failure prints no result");
    }
}

#[test]
fn usage_errors_exit_with_2_and_failures_with_1() {
    check(&["no-such-verb"], 2, "unrecognized subcommand");
    check(&["up", "--on", "vmware"], 2, "unknown back end vmware");
    check(&["up", "--nodes", "x"], 2, "invalid value");
    check(&["status"], 1, "error: cluster default does not exist (keelson up creates it)");
    check(&["ssh", "core-01", "--", "true"], 1, "error: cluster default does not exist");
    check(&["crash", "core-01"], 1, "error: cluster default does not exist");
    check(&["--cluster", "../x", "status"], 2, "invalid cluster name");
    check(
        &["up", "--nodes", "0", "--image", "none"],
        2,
        "error: invalid number of nodes 0: must be 1 to 232",
    );
    check(&["up", "--memory", "64", "--image", "none"], 2, "64 MiB of memory is too little");
    check(&["up", "--image", "none"], 1, "error: cannot read the image manifest none: No such file");
    check(&["up", "--image", "none"], 1, "hint: ");
    check(&["up", "--user-data", "none", "--image", "none"], 1, "cannot read none");
    check(&["test", "no-such-scenario", "--image", "none"], 2, "unknown scenario no-such-scenario");
    check(
        &["test", "apart", "--on", "qemu", "--image", "none"],
        2,
        "none of these scenarios supports this back end",
    );
}

#[test]
fn destroy_is_safe_to_repeat_and_prints_one_document() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    for _ in 0..2 {
        let output = keelson(folder.path()).args(["destroy", "--json", "--quiet"]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["removed"], false);
    }
}

/// A cluster's folder with this state file.
fn cluster(home: &Path, state: &str) -> std::path::PathBuf {
    let root = home.join(".local/state/keelson/default");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("lock"), "keelson up (process 1)\n").unwrap();
    std::fs::write(root.join("cluster.json"), state).unwrap();
    root
}

#[test]
fn every_verb_reports_a_damaged_state_and_destroy_removes_it() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    for state in ["{\"format\": 1", "{\"format\": 2}", ""] {
        let root = cluster(folder.path(), state);
        for arguments in [&["status"] as &[&str], &["down"], &["crash", "core-01"], &["ssh", "core-01"]] {
            let output = keelson(folder.path()).args(arguments).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
            assert!(
                stderr.contains("cluster.json") && stderr.contains("keelson destroy"),
                "{arguments:?}: {stderr}"
            );
        }
        let output = keelson(folder.path()).args(["destroy", "--json", "--quiet"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["removed"], true);
        assert!(!root.exists());
    }
}

#[test]
fn destroy_removes_an_incomplete_cluster_and_no_other_folder() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let root = cluster(folder.path(), "");
    std::fs::remove_file(root.join("cluster.json")).unwrap();
    assert!(keelson(folder.path()).args(["destroy"]).output().unwrap().status.success());
    assert!(!root.exists());
    let other = folder.path().join("mine");
    std::fs::create_dir(&other).unwrap();
    let state = folder.path().to_str().unwrap();
    assert!(
        keelson(folder.path())
            .args(["destroy", "--state-dir", state, "--cluster", "mine"])
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(other.exists(), "a folder that keelson did not make is gone");
}

#[test]
fn closed_and_full_outputs_do_not_panic() {
    use std::process::Stdio;
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keelson"));
        command.args(arguments).env("HOME", folder.path()).current_dir(folder.path()).stdout(stdout);
        command.stderr(Stdio::piped()).output().unwrap()
    };
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for arguments in
        [&["test", "--list"] as &[&str], &["destroy", "--json"], &["completions", "bash"], &["man"]]
    {
        let output = run(arguments, closed());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked") && output.status.code() == Some(0), "{arguments:?}: {stderr}");
        let output = run(arguments, full());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("error: cannot write to stdout: No space left"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_scenario_that_needs_root_is_skipped_and_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let at = |name: &str| folder.path().join(name);
    // Another user must be able to execute it. `cp` copies it, since a file that a fork of this process has open for
    // writing cannot be executed (ETXTBSY).
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_keelson")).arg(at("keelson")).status().unwrap();
    assert!(copied.success());
    std::fs::write(at("disk.raw"), "").unwrap();
    let manifest = r#"{"version":"1.0.0","channel":"alpha","raw":"disk.raw","usr_tree":"usr",
        "usr_erofs":"usr.erofs","tools":"/"}"#;
    std::fs::write(at("image.json"), manifest).unwrap();
    std::fs::create_dir(at("state")).unwrap();
    for (path, mode) in [(folder.path().to_path_buf(), 0o755), (at("state"), 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(at("keelson"));
    command.args(["--json", "--quiet", "test", "boots", "host", "--on", "nspawn", "--image"]);
    command.arg(at("image.json")).arg("--state-dir").arg(at("state")).current_dir("/");
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["skipped"], &value["failed"]), (&2.into(), &0.into()), "{value:#}");
    assert_eq!(std::fs::read_dir(at("state")).unwrap().count(), 0);
}

#[test]
fn doctor_updates_package_lists_if_a_package_is_unknown() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let programs = folder.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let script = "#!/bin/sh\necho \"$*\" >>\"$HOME/asked\"\n[ \"$1\" = update ] && >\"$HOME/known\" && exit 0\n\
        [ -e \"$HOME/known\" ] && exit 0\necho 'E: Unable to locate package openssh-client' >&2\nexit 100\n";
    for name in ["apt-get", "sudo"] {
        let text = if name == "sudo" { "#!/bin/sh\nexec \"$@\"\n" } else { script };
        let path = programs.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_keelson"))
        .args(["doctor", "--install", "--json", "--quiet"])
        .env_clear()
        .env("PATH", &programs)
        .env("HOME", folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The package does not really install anything, so the second check fails.
    let value: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(value["ok"], false);
    let calls = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    let verbs: Vec<&str> = calls.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(verbs, ["install", "update", "install"], "{calls}");
}

#[test]
fn doctor_without_sudo_prints_what_root_must_run() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    let (program, apt_get) = (folder.path().join("keelson"), folder.path().join("apt-get"));
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_keelson")).arg(&program).status().unwrap().success());
    std::fs::write(&apt_get, "#!/bin/sh\nexit 1\n").unwrap();
    for path in [folder.path(), &apt_get] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(&program);
    command.args(["doctor", "--install"]).current_dir("/").env_clear();
    command.env("PATH", folder.path()).env("HOME", folder.path());
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("run as root: apt-get install "), "{stderr}");
    assert!(stderr.contains("openssh-client"), "{stderr}");
}

#[test]
fn help_manuals_and_completions_are_generated() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    for verb in
        ["up", "status", "ssh", "console", "crash", "reboot", "start", "down", "destroy", "test", "doctor"]
    {
        let output = keelson(folder.path()).args([verb, "--help"]).output().unwrap();
        assert!(output.status.success(), "{verb}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Example"), "{verb}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = keelson(folder.path()).args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("keelson"), "{shell}");
    }
    assert!(keelson(folder.path()).args(["man", "--out", "man"]).output().unwrap().status.success());
    assert!(folder.path().join("man/keelson-up.1").exists());
}

#[test]
fn config_rb_warnings_have_file_and_line() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("config.rb"), "# mine\n$vm_disk = 8\n$num_instances = 500\n").unwrap();
    let output = keelson(folder.path()).args(["up", "--image", "none"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("warning: config.rb, line 2: ignoring $vm_disk: unknown setting"), "{stderr}");
    assert!(stderr.contains("error: invalid number of nodes 500"), "{stderr}");
}

#[test]
fn validate_reports_position_and_exit_code() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    std::fs::write(folder.path().join("good"), "#cloud-config\nhostname: a\n").unwrap();
    std::fs::write(folder.path().join("bad"), "#cloud-config\nhostname: [\n").unwrap();
    let good = keelson(folder.path()).args(["validate", "good"]).output().unwrap();
    assert_eq!(
        (good.status.code(), String::from_utf8_lossy(&good.stdout).as_ref()),
        (Some(0), "good: valid\n")
    );
    let bad = keelson(folder.path()).args(["validate", "bad", "--json"]).output().unwrap();
    assert_eq!(bad.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    assert!(value["errors"][0]["line"].as_u64().unwrap() >= 2, "{value}");
}

#[test]
fn user_data_is_validated_before_boot() {
    let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").unwrap();
    for (text, error, finding) in [
        (
            "#cloud-config\ncoreos:\n  etcd2: {discovery: 'https://discovery.etcd.io/<token>'}\n",
            "cannot read the image manifest none",
            "user-data:3:11: warning: discovery URL still has a placeholder for its token",
        ),
        ("#cloud-config\nwrite_files:\n\t- path: /etc/x\n", "the user-data is invalid", "user-data:3:"),
        ("hostname: a\n", "the user-data is invalid", "user-data:1:"),
    ] {
        std::fs::write(folder.path().join("user-data"), text).unwrap();
        let output =
            keelson(folder.path()).args(["--cluster", "walk", "up", "--image", "none"]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}: {stderr}");
        assert!(stderr.contains(error) && stderr.contains(finding), "{text}: {stderr}");
    }
}

#[test]
fn hints_can_be_copied() {
    check(
        &["--cluster", "walk", "status"],
        1,
        "cluster walk does not exist (keelson --cluster walk up creates it)",
    );
}
