//! Help pages, and completion scripts as bash evaluates them.

use std::process::Command;

use crate::program::Program;

fn script(shell: &str) -> String {
    let output = Program::in_folder("/".as_ref()).command(&["completion", shell]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Completions of bash for the last of `arguments`.
fn completions(arguments: &[&str]) -> Vec<String> {
    let script_text = "eval \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
               _fleetctl fleetctl \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; \
               printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["-c", script_text, "bash", &script("bash"), "fleetctl"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let mut completions: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    completions.sort();
    completions
}

#[test]
fn bash_completes_commands_flags_and_values() {
    assert_eq!(completions(&["list-u"]), ["list-unit-files", "list-units"]);
    assert_eq!(completions(&["start", "--wait"]), ["--wait-active"]);
    assert_eq!(completions(&["--driver", ""]), ["API", "etcd"]);
    // Hidden flags are not completed.
    assert!(!completions(&["submit", "--"]).contains(&"--sign".to_owned()));
}

#[test]
fn other_shells() {
    assert!(script("zsh").starts_with("#compdef fleetctl"));
    assert!(script("fish").contains("complete -c fleetctl"));
    let output = Program::in_folder("/".as_ref()).run(&["completion", "tcsh"], "");
    assert_eq!(output, "err| unsupported shell \"tcsh\", expected bash|zsh|fish\nexit 2\n");
}

/// TestClientHelpFlag and TestClientVersionHelpOutput.
#[test]
fn help_pages() {
    let program = Program::in_folder("/".as_ref());
    let page = program.run(&[], "");
    for part in [
        "NAME:",
        "USAGE:",
        "VERSION:\nout|    1.0.0",
        "COMMANDS:",
        "GLOBAL OPTIONS:",
        "FLEETCTL_SSH_USERNAME",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    for arguments in [&["help"][..], &["--help"], &["-h"], &["--h"], &["-help"]] {
        assert_eq!(program.run(arguments, ""), page, "{arguments:?}");
    }
    let of_start = program.run(&["help", "start"], "");
    for part in ["NAME:\nout|    fleetctl start", "USAGE:", "DESCRIPTION:", "OPTIONS:", "--block-attempts"] {
        assert!(of_start.contains(part), "{part} in {of_start}");
    }
    assert!(!of_start.contains("--sign"), "{of_start}");
    assert_eq!(program.run(&["start", "--help"], ""), of_start);
}
