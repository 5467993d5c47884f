//! MIME multipart user-data: order of the parts, and handling of invalid ones.

use std::time::{Duration, Instant};

use crate::support::Machine;
use crate::support::systemd::FakeSystemd;

/// A multipart document; each part as headers and body.
fn multipart(parts: &[(&str, &str)]) -> String {
    let mut text =
        "Content-Type: multipart/mixed; boundary=\"MIMEBOUNDARY\"\r\nMIME-Version: 1.0\r\n\r\n".to_owned();
    for (head, body) in parts {
        text.push_str(&format!("--MIMEBOUNDARY\r\n{head}\r\n\r\n{body}\r\n"));
    }
    text + "--MIMEBOUNDARY--\r\n"
}

const CONFIG: &str =
    "Content-Type: text/cloud-config; charset=\"us-ascii\"\r\nContent-Transfer-Encoding: 7bit";
const SCRIPT: &str = "Content-Type: text/x-shellscript";

#[test]
fn parts_are_applied_in_order() {
    let machine = Machine::new();
    machine.put(
        "/drive/openstack/latest/meta_data.json",
        r#"{"hostname": "meta", "public_keys": {"a": "ssh-rsa M"}}"#,
    );
    let text = multipart(&[
        (
            CONFIG,
            "#cloud-config\nssh_authorized_keys: [ssh-rsa A, ssh-rsa B]\nwrite_files: [{path: /x, content: one}, {path: /y, content: $private_ipv4}]",
        ),
        (SCRIPT, "#!/bin/sh\necho $private_ipv4"),
        ("Content-Type: text/jinja2", "#cloud-config\nhostname: jinja"),
        // #cloud-config\nhostname: second\nssh_authorized_keys: [ssh-rsa B, ssh-rsa C]\nwrite_files: [{path: /x, content: $private_ipv4}]
        (
            "Content-Transfer-Encoding: base64",
            "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogc2Vjb25kCnNzaF9hdXRob3JpemVkX2tleXM6IFtzc2gtcnNhIEIs\nIHNzaC1yc2EgQ10Kd3JpdGVfZmlsZXM6IFt7cGF0aDogL3gsIGNvbnRlbnQ6ICRwcml2YXRlX2lwdjR9XQo=",
        ),
        (CONFIG, "hostname: third"),
        (SCRIPT, "#!/bin/bash\necho 2"),
    ]);
    machine.put("/drive/openstack/latest/user_data", &text);
    let from = format!("-from-configdrive={}", machine.path("/drive").display());
    let addresses = [("COREOS_PRIVATE_IPV4", "10.0.0.9")];
    let plan = machine.start(&[&from, "-plan"], &addresses, b"");
    plan.expect(
        0,
        &["ignoring part of type text/jinja2 (part 3, line 19)", "{\"op\":\"hostname\",\"name\":\"second\""],
    );
    plan.expect(0, &["\"keys\":[\"ssh-rsa A\",\"ssh-rsa B\",\"ssh-rsa C\",\"ssh-rsa M\"]"]);
    let steps: Vec<_> = plan.stdout.lines().map(|line| line.split(['"']).nth(3).unwrap()).collect();
    assert_eq!(steps.iter().filter(|step| **step == "script").count(), 2);
    assert_eq!(steps[steps.len() - 2..], ["script", "script"]);

    machine
        .start(&[&from], &addresses, b"")
        .expect(0, &["Parsing user-data as multipart", "Parsing part 2 as script"]);
    assert_eq!(machine.read("/etc/hostname"), "second\n");
    assert_eq!(machine.read("/x") + &machine.read("/y"), "10.0.0.910.0.0.9");
    let names = machine.read("/var/lib/coreos-cloudinit/scripts/unit-name");
    let scripts: Vec<_> = names
        .lines()
        .map(|unit| {
            let name = unit.strip_prefix("coreos-cloudinit-").unwrap().split('-').next().unwrap();
            machine.read(&format!("/var/lib/coreos-cloudinit/scripts/{name}"))
        })
        .collect();
    assert_eq!(scripts, ["#!/bin/sh\necho 10.0.0.9", "#!/bin/bash\necho 2"]);
    machine.start(&["-status"], &[], b"").expect(0, &["\"kind\":\"multipart\""]);
}

#[test]
fn failed_part_does_not_stop_later_ones() {
    let machine = Machine::new();
    let text = multipart(&[
        (CONFIG, "#cloud-config\nhostname: a: b"),
        (CONFIG, "#cloud-config\nhostname: b\nmanage_etc_hosts: maybe\nssh_authorized_keys: [ssh-rsa B]"),
        ("Content-Type: text/plain; name=what.txt", "what is this"),
        ("Content-Type: text/plain\nContent-Transfer-Encoding: base64", "%%%"),
        (SCRIPT, "#!/bin/sh\n"),
        (CONFIG, "#cloud-config\nhostname: c\n"),
    ]);
    let expected = [
        "line 9: error: mapping values are not allowed in this context",
        "Failed to parse user-data: line 2: mapping values are not allowed in this context (of part 1)",
        "Failed to apply cloud-config: Invalid option to manage_etc_hosts (line 3 of part 2)",
        "Failed to parse user-data: part 3 (\"what.txt\"): Unrecognized user-data format (line 21)",
        "Failed to parse user-data: part 4: Unable to decode base64: Invalid symbol 37, offset 0. (line 26)",
    ];
    machine.run(&text, &["-plan"]).expect(1, &expected);
    machine.run(&text, &[]).expect(1, &expected);
    assert_eq!(machine.read("/etc/hostname"), "c\n");
    assert_eq!(machine.read("/home/core/.ssh/authorized_keys"), "ssh-rsa B\n");
    assert!(machine.has("/var/lib/coreos-cloudinit/scripts/unit-name"));
    machine.run(&text, &["-ignore-failure"]).expect(0, &[]);
}

#[test]
fn refusals_name_the_line_in_the_whole_document() {
    let machine = Machine::new();
    let file = "#cloud-config\nwrite_files:\n- {path: /usr/x}\n- {path: /ok, content: y}\n";
    let expected = "write /usr/x: file cannot be written to a read-only filesystem (line 14)";
    machine
        .run(multipart(&[(SCRIPT, "#!/bin/sh"), (CONFIG, file)]), &[])
        .expect(1, &[expected, "line 14: error: file"]);
    assert_eq!(machine.read("/ok"), "y");
}

#[test]
fn many_parts_with_many_keys_and_additions() {
    let machine = Machine::new();
    let config = |part: usize| {
        let keys: Vec<_> = (0..100).map(|key| format!("ssh-rsa {}", part * 50 + key)).collect();
        let file = format!("{{path: /x, append: true, content: '{}'}}", "x".repeat(2000));
        format!(
            "#cloud-config\nssh_authorized_keys: [{}]\nwrite_files: [{}]\n",
            keys.join(","),
            [&*file; 3].join(",")
        )
    };
    let configs: Vec<_> = (0..900).map(config).collect();
    let parts: Vec<_> = configs.iter().map(|config| (CONFIG, &**config)).collect();
    let start = Instant::now();
    let plan = machine.run(multipart(&parts), &["-plan"]);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    plan.expect(0, &["\"size\":5400000,"]);
    assert_eq!(plan.stdout.matches("\"ssh-rsa ").count(), 900 * 50 + 50);
}

#[test]
fn broken_multiparts() {
    let machine = Machine::new();
    let head = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n";
    let open = format!("{head}--b\n\n#cloud-config\nhostname: a\n");
    let warning = "the end marker \"--b--\" is missing";
    machine.run(&open, &[]).expect(0, &[&format!("Warning: {warning} (line 7)")]);
    assert_eq!(machine.read("/etc/hostname"), "a\n");
    machine.run(&open, &["-validate"]).expect(1, &[&format!("line 7: warning: {warning}")]);
    for (text, expected) in [
        ("Content-Type: multipart/mixed\n\n--b\n\n#cloud-config\n", "multipart without a boundary (line 3)"),
        (&*format!("{head}#cloud-config\n"), "multipart whose boundary \"b\" does not occur (line 4)"),
    ] {
        machine.run(text, &[]).expect(1, &["Failed to parse user-data: ", expected]);
    }
}

#[test]
fn scripts_run_in_order() {
    let machine = Machine::new();
    let systemd = FakeSystemd::start(&machine, &[]);
    let text = multipart(&[
        (SCRIPT, "#!/bin/sh\necho 1"),
        (SCRIPT, "#!/bin/sh\necho 2"),
        (SCRIPT, "#!/bin/sh\necho 1"),
    ]);
    machine.run(&text, &["-root-run"]).expect(0, &[]);
    let names = machine.read("/var/lib/coreos-cloudinit/scripts/unit-name");
    let [first, second, third] = names.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_ne!(first, third);
    let one_shot = "Type=oneshot";
    assert_eq!(
        systemd.calls(),
        [
            format!("StartTransientUnit {first} {one_shot}"),
            format!("StartTransientUnit {second} {one_shot} After={first}"),
            format!("StartTransientUnit {third} {one_shot} After={second}"),
        ]
    );
    // They outlive the run; systemd has their results.
    let states = format!(
        "\"scripts\":[{{\"unit\":\"{first}\",\"state\":\"ended\"}},{{\"unit\":\"{second}\",\"state\":\"failed\",\
         \"result\":\"exit-code\",\"status\":3}},{{\"unit\":\"{third}\",\"state\":\"ended\"}}]"
    );
    machine.start(&["-status", "-root-run"], &[], b"").expect(0, &[&states]);
    machine.start(&["-status"], &[], b"").expect(0, &["\"state\":\"unknown\""]);
    machine.run("#!/bin/sh\necho 1", &["-root-run"]).expect(0, &["Started the script as coreos-cloudinit-"]);
    let name = machine.read("/var/lib/coreos-cloudinit/scripts/unit-name");
    assert_eq!(systemd.calls(), [format!("StartTransientUnit {name}")]);
}
