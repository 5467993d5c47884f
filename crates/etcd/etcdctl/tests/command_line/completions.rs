//! Tests of the completion scripts, by the shells that are installed.

use std::process::Command;

use crate::program::Program;

fn script(shell: &str) -> String {
    let output = Program::ours().command(&["completion", shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The completions that bash offers for the last of `arguments`.
fn completions(arguments: &[&str]) -> Vec<String> {
    let ask = "eval \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _etcdctl etcdctl \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
               printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", ask, "bash", &script("bash"), "etcdctl"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["upda"], &["update", "updatedir"]),
        (&["member", "a"], &["add"]),
        (&["set", "--swap"], &["--swap-with-value", "--swap-with-index"]),
        (&["--endp"], &["--endpoint", "--endpoints"]),
        (&["--output", "j"], &["json"]),
    ];
    for (arguments, expect) in cases {
        let mut got = completions(arguments);
        let mut expect = expect.to_vec();
        got.sort();
        expect.sort_unstable();
        assert_eq!(got, expect, "{arguments:?}");
    }
}

#[test]
fn other_shells() {
    assert!(script("zsh").starts_with("#compdef etcdctl"));
    assert!(script("fish").contains("complete -c etcdctl"));
    let output = Program::ours().run(&["completion", "tcsh"], "");
    assert_eq!(output, "err| unsupported shell \"tcsh\", expected bash|zsh|fish\nexit 1\n");
}
