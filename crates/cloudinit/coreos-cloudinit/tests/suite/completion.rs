//! The bash completions, called as readline does.

use std::process::Command;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../../os/rootfs/usr/share/bash-completion/completions/coreos-cloudinit"
);

/// The candidates for the last of `words`.
fn offered(words: &[&str]) -> Vec<String> {
    let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _coreos_cloudinit; \
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let program = env!("CARGO_BIN_EXE_coreos-cloudinit");
    let output =
        Command::new("bash").args(["-c", script, "bash", FILE, program]).args(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn flags_and_values() {
    let cases: [(&[&str], &[&str]); 13] = [
        (&["-valid"], &["-validate", "-validate-format"]),
        (&["-plan", "--from-f"], &["--from-file", "--from-fw-cfg"]),
        (&["-validate-format", ""], &["text", "json"]),
        (&["-convert", ""], &["ignition", "butane"]),
        (&["-convert-netconf", ""], &["debian", "packet", "vmware"]),
        (&["--validate-format", "=", "j"], &["json"]),
        (&["-from-file", "=", "/etc/passw"], &["/etc/passwd"]),
        (&["-from-vmware-ovf-env", "/etc/passw"], &["/etc/passwd"]),
        (&["-from-nocloud", "/et"], &["/etc"]),
        (&["-from-credential", ""], &[]),
        (&["-from-url", ""], &[]),
        (&["-from-ec2-metadata", ""], &[]),
        (&["--oem", "=", "ec2"], &["ec2-compat"]),
    ];
    for (words, expect) in cases {
        let got = offered(words);
        assert!(expect.iter().all(|word| got.iter().any(|one| one == word)), "{words:?}: {got:?}");
        assert_eq!(expect.is_empty(), got.is_empty(), "{words:?}: {got:?}");
    }
}
