//! Runs below a root folder: written files, refusals, repeated runs.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::Machine;

const TUTORIAL: &str = include_str!("../../../cloudinit/tests/data/tutorial.yml");

#[test]
fn tutorial_config() {
    let machine = Machine::new();
    let file = machine.folder().join("tutorial");
    std::fs::write(&file, TUTORIAL).unwrap();
    let from = format!("-from-file={}", file.display());
    let environment = [("COREOS_PRIVATE_IPV4", "10.0.0.9"), ("COREOS_PUBLIC_IPV4", "nonsense")];
    let output = machine.start(&[&from], &environment, b"");
    output.expect(
        0,
        &[
            "Checking availability of \"local-file\"",
            "Fetching user-data from datasource of type \"local-file\"",
            "Parsing user-data as cloud-config",
            "Merging cloud-config from meta-data and user-data",
            "Set hostname to coreos0",
            "Authorized SSH keys for core user",
            "Ensuring runtime unit file \"etcd.service\" is unmasked",
            "Wrote drop-in unit \"20-cloudinit.conf\"",
            "Updated /etc/environment",
            "ignoring COREOS_PUBLIC_IPV4, which is no IP address",
        ],
    );
    assert_eq!(machine.read("/etc/hostname"), "coreos0\n");
    assert_eq!(machine.read("/etc/environment"), "COREOS_PRIVATE_IPV4=10.0.0.9\n");
    let drop_in = machine.read("/run/systemd/system/etcd.service.d/20-cloudinit.conf");
    assert!(drop_in.contains("Environment=\"ETCD_ADDR=10.0.0.9:4001\"\n"), "{drop_in}");
    assert_eq!(machine.mode("/home/core/.ssh/authorized_keys"), 0o600);
    assert_eq!(machine.mode("/home/core/.ssh"), 0o700);

    machine.start(&[&from], &environment, b"").expect(0, &["Nothing changed"]).never_contains("Wrote ");
    machine.start(&["-status"], &[], b"").expect(0, &["\"changed\":0", "\"kind\":\"cloud-config\""]);
}

#[test]
fn a_plan_changes_nothing() {
    let machine = Machine::new();
    let output = machine.run("#cloud-config\nhostname: a\nusers: [{name: u}]\n", &["-plan"]);
    output.expect(0, &["{\"op\":\"hostname\",\"name\":\"a\",\"why\":"]);
    output.expect(0, &["{\"op\":\"useradd\",\"name\":\"u\",\"argv\":[\"--create-home\"],"]);
    assert!(!machine.has("/etc/hostname") && !machine.has("/run"));
}

#[test]
fn validation_errors_are_found_before_anything_is_written() {
    for (config, expected) in [
        (
            "hostname: a\nwrite_files: [{path: /x, permissions: 9999}]",
            "Unable to parse file permissions \"9999\"",
        ),
        ("hostname: a\nmanage_etc_hosts: yes", "Invalid option to manage_etc_hosts"),
        ("hostname: a\ncoreos: {update: {reboot_strategy: never}}", "invalid value \"never\" for option"),
        (
            "hostname: a\ncoreos: {units: [{name: a.service, command: go}]}",
            "Unsupported systemd command \"go\"",
        ),
        ("hostname: a\nwrite_files: [{path: /x, encoding: b64, content: '*'}]", "Unable to decode base64"),
    ] {
        let machine = Machine::new();
        let config = format!("#cloud-config\nssh_authorized_keys: [ssh-rsa A]\n{config}\n");
        machine.run(&config, &[]).expect(1, &[expected]);
        assert!(!machine.has("/etc/hostname") && !machine.has("/x"), "{config}");
        assert_eq!(machine.read("/home/core/.ssh/authorized_keys"), "ssh-rsa A\n");
    }
}

#[test]
fn metadata_applies_despite_bad_user_data() {
    let machine = Machine::new();
    machine.put(
        "/drive/openstack/latest/meta_data.json",
        r#"{"hostname": "node.x", "public_keys": {"a": "ssh-rsa K"}}"#,
    );
    machine.put(
        "/drive/openstack/latest/network_data.json",
        r#"{"networks": [{"type": "ipv4", "ip_address": "10.1.1.1"}]}"#,
    );
    let from = format!("-from-configdrive={}", machine.path("/drive").display());
    for (user_data, expected) in [
        ("hello", "Unrecognized user-data format"),
        ("#cloud-config\na: b: c\n", "line 2: error: mapping values are not allowed in this context"),
        ("#cloud-config\na:\n\tb: c\n", "line 3: error: found character that cannot start any token (tabs"),
        ("#cloud-config\n- a\n", "the document must be a mapping"),
    ] {
        machine.put("/drive/openstack/latest/user_data", user_data);
        machine.start(&[&from], &[], b"").expect(1, &[expected, "Continuing..."]);
        machine.start(&[&from, "-ignore-failure"], &[], b"").expect(0, &[]);
        assert_eq!(machine.read("/etc/hostname"), "node\n");
        assert_eq!(machine.read("/home/core/.ssh/authorized_keys"), "ssh-rsa K\n");
        assert!(machine.read("/etc/environment").contains("COREOS_PRIVATE_IPV4=10.1.1.1\n"));
    }
    machine.put("/drive/openstack/latest/user_data", "{\"ignition\": {\"version\": \"3.4.0\"}}");
    std::fs::remove_file(machine.path("/etc/hostname")).unwrap();
    machine.start(&[&from], &[], b"").expect(0, &["Detected an Ignition config. Exiting...\n"]);
    assert!(!machine.has("/etc/hostname"));
}

#[test]
fn keys_before_a_yaml_error_are_installed_and_nothing_else() {
    for rest in ["a: b: c\n", "write_files:\n\t- path: /x\n", "\thostname: b\n", "x: \"never closed\n"] {
        let machine = Machine::new();
        let config = format!(
            "#cloud-config\nhostname: a\nssh_authorized_keys:\n- ssh-rsa A\n- ssh-rsa B\nwrite_files: [{{path: /x}}]\n{rest}"
        );
        machine.run(&config, &["-plan"]).expect(1, &["\"keys\":[\"ssh-rsa A\",\"ssh-rsa B\"]"]);
        machine.run(&config, &[]).expect(
            1,
            &[
                "Failed to parse user-data: line ",
                "2 ssh keys of the user-data stand before the error: they are installed, nothing else",
            ],
        );
        assert_eq!(machine.read("/home/core/.ssh/authorized_keys"), "ssh-rsa A\nssh-rsa B\n");
        assert!(!machine.has("/etc/hostname") && !machine.has("/x"), "{rest}");
    }
}

#[test]
fn a_file_below_usr_is_refused_and_the_rest_is_applied() {
    let machine = Machine::new();
    let config = "#cloud-config\nhostname: a\nwrite_files:\n- {path: /usr/bin/x, content: x}\n- {path: /y, content: y}\n";
    let expected = "Failed to apply cloud-config: write /usr/bin/x: file cannot be written to a read-only filesystem (line 4)";
    machine
        .run(config, &["-plan"])
        .expect(1, &[expected, "\"path\":\"/y\""])
        .never_contains("\"path\":\"/usr/bin/x");
    machine.run(config, &["-ignore-failure"]).expect(1, &[expected, "1 failed"]);
    assert!(!machine.has("/usr"));
    assert_eq!(machine.read("/y") + &machine.read("/etc/hostname"), "ya\n");
    machine.start(&["-status"], &[], b"").expect(0, &["write /usr/bin/x"]);
}

#[test]
fn bad_field_does_not_affect_the_rest() {
    let machine = Machine::new();
    let config = "#cloud-config\nhostname: [x]\nhostname: a\nhostnme: b\nusers: 3\nwrite_files:\n- {path: /ok, content: 1}\n";
    machine.run(config, &[]).expect(
        0,
        &[
            "line 3: warning: duplicate key \"hostname\" (first at line 2)",
            "line 4: warning: unrecognized key \"hostnme\"",
            "line 5: warning: incorrect type for \"users\" (want []struct)",
        ],
    );
    assert_eq!(machine.read("/ok"), "1");
    assert_eq!(machine.read("/etc/hostname"), "a\n");
}

#[test]
fn paths_with_dots_and_links_stay_below_the_root() {
    let machine = Machine::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), machine.path("/link")).unwrap();
    let config = "#cloud-config\nwrite_files:\n- {path: ../../../escaped, content: x}\n- {path: /link/y, content: x}\n- {path: /z, content: x}\n";
    machine.run(config, &[]).expect(1, &["Failed to apply cloud-config: write /link/y"]);
    assert_eq!(machine.read("/escaped"), "x");
    assert_eq!(machine.read("/z"), "x");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn sizes_and_bombs() {
    let machine = Machine::new();
    let start = Instant::now();
    let ten =
        format!("#cloud-config\nwrite_files:\n- path: /big\n  content: |\n    {}\n", "x".repeat(10 << 20));
    machine.run(&ten, &[]).expect(0, &[]);
    assert_eq!(machine.read("/big").len(), (10 << 20) + 1);
    machine.run(vec![b'#'; 17 << 20], &[]).expect(1, &["has more than 16777216 bytes. Continuing..."]);
    let mut bomb = "#cloud-config\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..10 {
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(",")));
    }
    machine.run(&bomb, &[]).expect(1, &["error: document contains excessive aliasing"]);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn modes_and_owners() {
    let machine = Machine::new();
    let config = "#cloud-config\nwrite_files:\n- {path: /a, permissions: 0600}\n- {path: /b, permissions: '0755'}\n- {path: /c, permissions: 640}\n- {path: /d, owner: nobody-here, permissions: 0644}\n";
    machine
        .run(config, &[])
        .expect(1, &["Failed to apply cloud-config: owner \"nobody-here\" of /d: no user 'nobody-here'"]);
    let modes: Vec<_> = ["/a", "/b", "/c", "/d"].iter().map(|path| machine.mode(path)).collect();
    assert_eq!(modes, [0o600, 0o755, 0o640, 0o600]);
}

#[test]
fn append_is_idempotent_and_overwrite_false_keeps_files() {
    let machine = Machine::new();
    machine.put("/etc/profile", "first\n");
    std::fs::set_permissions(machine.path("/etc/profile"), std::fs::Permissions::from_mode(0o640)).unwrap();
    machine.put("/etc/kept", "mine\n");
    let config = "#cloud-config\nwrite_files:\n- {path: /etc/profile, content: \"second\\n\", append: true}\n\
                  - {path: /etc/kept, content: theirs, overwrite: false}\n- {path: /etc/new, content: x, overwrite: false, permissions: 0600}\n\
                  - {path: /etc/added, content: y, append: true, defer: true}\n";
    machine.run(config, &[]).expect(0, &["File \"/etc/kept\" exists and is not changed"]);
    machine.run(config, &[]).expect(0, &["Nothing changed"]);
    let read = ["/etc/profile", "/etc/kept", "/etc/new", "/etc/added"].map(|path| machine.read(path));
    assert_eq!(read, ["first\nsecond\n", "mine\n", "x", "y"]);
    assert_eq!((machine.mode("/etc/profile"), machine.mode("/etc/new")), (0o640, 0o600));
    machine.put("/etc/profile", "first\nsecond\nby hand\n");
    machine.run(config, &[]).expect(0, &["Nothing changed"]);
}

#[test]
fn sudo_rules_are_checked_before_they_are_put_in_place() {
    let config = "#cloud-config\nusers: [{name: root, sudo: ALL=(ALL) ALL}]\n";
    let rules = "/etc/sudoers.d/90-cloud-init-users";
    let machine = Machine::new();
    machine.put(rules, "old\n");
    machine.record("visudo", 1);
    machine.run(config, &["-root-run"]).expect(1, &["visudo failed with exit status: 1: refused"]);
    assert_eq!(machine.recorded(), ["visudo -c -f -", "< root ALL=(ALL) ALL"]);
    assert_eq!(machine.read(rules), "old\n");
    machine.record("visudo", 0);
    machine.run(config, &["-root-run"]).expect(0, &[]);
    assert_eq!(machine.read(rules), "root ALL=(ALL) ALL\n");
    assert_eq!(machine.mode(rules), 0o440);
}

#[test]
fn once_means_once_applied() {
    let machine = Machine::new();
    for _ in 0..2 {
        machine.run("#cloud-config\nhostname: [\n", &["-once"]).expect(1, &["Failed to parse user-data"]);
    }
}

#[test]
fn once_and_persist() {
    let machine = Machine::new();
    let config = "#cloud-config\nhostname: a\n";
    machine.run(config, &["-once", "-persist"]).expect(0, &["Keeping the user-data"]);
    assert_eq!(machine.read("/var/lib/coreos-install/user_data"), config);
    assert_eq!(machine.mode("/var/lib/coreos-install/user_data"), 0o600);
    machine.put("/etc/hostname", "changed by hand\n");
    machine.run(config, &["-once"]).expect(0, &["Nothing changed: -once"]);
    assert_eq!(machine.read("/etc/hostname"), "changed by hand\n");
    machine.run("#cloud-config\nhostname: b\n", &["-once"]).expect(0, &[]);
    assert_eq!(machine.read("/etc/hostname"), "b\n");
}

#[test]
fn validation_reads_standard_input_and_changes_nothing() {
    let machine = Machine::new();
    let validate = ["-validate", "-from-file=-"];
    machine.start(&validate, &[], b"#cloud-config\nhostname: a\n").expect(0, &[]);
    machine.start(&validate, &[], b"").expect(0, &[]);
    machine
        .start(&validate, &[], b"x")
        .expect(1, &["line 1: error: must be \"#cloud-config\" or begin with \"#!\""]);
    machine.start(&validate, &[], b"\x1f\x8bbroken").expect(1, &["Failed decompressing user-data"]);
    let json = ["-validate", "-validate-format=json", "-from-file=-"];
    machine.start(&json, &[], b"#cloud-config\n").expect(0, &["{\"result\":null}\n"]);
    machine
        .start(&json, &[], b"#cloud-config\nwrite_files: [{path: /a, permissions: x}]\n")
        .expect(1, &["{\"result\":[{\"kind\":\"error\",\"line\":2,", "\"message\":\"invalid value x\"}]}\n"]);
    assert!(!machine.has("/run"));
}

#[test]
fn non_regular_files_do_not_block() {
    let machine = Machine::new();
    let fifo = machine.path("/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let start = Instant::now();
    for (path, kind) in [(fifo.to_str().unwrap(), "FIFO"), ("/dev/zero", "device"), ("/dev", "directory")] {
        let from = format!("-from-file={path}");
        let expected =
            format!("Failed fetching user-data from datasource: {path} is a {kind}, not a regular file");
        machine.start(&[&from], &[], b"").expect(1, &[&expected]);
        machine.start(&["-validate", &from], &[], b"").expect(1, &[&expected]);
    }
    std::fs::create_dir_all(machine.path("/drive/openstack/latest")).unwrap();
    std::fs::rename(&fifo, machine.path("/drive/openstack/latest/user_data")).unwrap();
    let from = format!("-from-configdrive={}", machine.path("/drive").display());
    machine.start(&[&from], &[], b"").expect(1, &["user_data is a FIFO, not a regular file"]);
    machine
        .start(&["-validate", "-from-file=/nonexistent"], &[], b"")
        .expect(1, &["error: No datasource is available: /nonexistent is not there"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn scripts_are_stored_privately() {
    let machine = Machine::new();
    machine.run("#!/bin/sh\r\necho $private_ipv4\n", &[]).expect(
        0,
        &["Parsing user-data as script", "Ensuring runtime unit file \"fleet.service\" is unmasked"],
    );
    let unit = machine.read("/var/lib/coreos-cloudinit/scripts/unit-name");
    let name = unit.strip_prefix("coreos-cloudinit-").unwrap().split('-').next().unwrap();
    let path = format!("/var/lib/coreos-cloudinit/scripts/{name}");
    assert_eq!(machine.read(&path), "#!/bin/sh\necho \n");
    assert_eq!(machine.mode(&path), 0o700);
}

#[test]
fn concurrent_runs_are_serialized_and_the_newest_content_wins() {
    let machine = Machine::new();
    machine.put("/run/coreos-cloudinit.lock", "4711");
    let file = std::fs::File::open(machine.path("/run/coreos-cloudinit.lock")).unwrap();
    let held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusive).unwrap();
    machine.put("/user-data", "#cloud-config\nhostname: a\n");
    let from = format!("-from-file={}", machine.path("/user-data").display());
    let mut run = machine.command(&[&from]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("Waiting for another run to end (process 4711)")));
    assert!(!machine.has("/etc/hostname"), "the second run did not wait");
    // Either run may have been the later one.
    machine.put("/user-data", "#cloud-config\nhostname: b\n");
    drop(held);
    assert!(lines.any(|line| line.ends_with("Set hostname to b")));
    lines.for_each(drop);
    assert!(run.wait().unwrap().success());
    assert_eq!(machine.read("/etc/hostname"), "b\n");
}

#[test]
fn journal_lines_have_priorities_and_no_time() {
    let machine = Machine::new();
    let output = machine.start(&["-validate", "-from-file=-"], &[("JOURNAL_STREAM", "8:1")], b"x");
    assert!(output.stderr.contains("\n<3>line 1: error: must be"), "{}", output.stderr);
    assert!(output.stderr.starts_with("<6>Checking"), "{}", output.stderr);
}

/// More files than one batch; some cannot be written, without effect on the others.
#[test]
fn batched_files_behave_like_single_writes() {
    let machine = Machine::new();
    machine.put("/d/same", "second");
    machine.put("/d/file", "in the way");
    symlink("d", machine.path("/l")).unwrap();
    let mut text = "#cloud-config\nwrite_files:\n".to_owned();
    // Already as the second entry wants it, until the first entry is written.
    text.push_str("  - {path: /l/same, content: first}\n  - {path: /d/same, content: second}\n");
    for number in 0..150 {
        text.push_str(&format!("  - {{path: /many/{number}, content: '{number}', permissions: '0600'}}\n"));
        if number == 70 {
            text.push_str("  - {path: /d/file/below, content: x}\n  - {path: /o, owner: nobody-knows}\n");
        }
    }
    let output = machine.run(&text, &[]);
    output.expect(1, &["/d/file is not a directory", "owner \"nobody-knows\" of /o: no user"]);
    for number in 0..150 {
        assert_eq!(machine.read(&format!("/many/{number}")), number.to_string());
    }
    assert_eq!(machine.mode("/many/149"), 0o600);
    assert_eq!(machine.read("/d/same"), "second");
    assert_eq!(std::fs::read_dir(machine.path("/many")).unwrap().count(), 150);
    let wrote: Vec<_> = output
        .stderr
        .lines()
        .filter_map(|line| line.split_once("Wrote file to \"/many/"))
        .map(|(_, rest)| rest)
        .collect();
    let expect: Vec<_> = (0..150).map(|number| format!("{number}\"")).collect();
    assert_eq!(wrote, expect);
    let text = text.replace("/d/file/below", "/d/below").replace("nobody-knows", "''");
    machine.run(&text, &[]).expect(0, &["/many/149\" is as it should be"]);
    assert_eq!(machine.read("/d/same"), "second");
}
