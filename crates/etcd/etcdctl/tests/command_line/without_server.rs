//! Tests that need no server: help, version, invalid flags, missing arguments.

use crate::program::Program;

fn check(arguments: &[&str], expect: &str) {
    assert_eq!(Program::ours().run(arguments, ""), expect, "{arguments:?}");
}

#[test]
fn missing_and_invalid_arguments() {
    check(&["get"], "err| Error:  key required\nexit 1\n");
    check(&["set"], "err| Error:  key required\nexit 1\n");
    check(&["set", "/a"], "err| Error:  value required\nexit 1\n");
    check(&["exec-watch", "/a"], "err| Error:  key and command to exec required\nexit 1\n");
    check(&["member", "add", "n1"], "err| Provide a name and a single member peerURL\nexit 1\n");
    check(&["member", "remove"], "err| Provide a single member ID\nexit 1\n");
    let update = "err| Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)\nexit 1\n";
    check(&["member", "update", "x"], update);
    check(&["role", "grant", "r", "--read"], "err| No path specified; please use `-path`\nexit 1\n");
    check(&["import"], "err| no snapshot file provided (use --snap)\nexit 1\n");
    check(&["import", "--snap", "/no/such"], "err| cannot read snapshot file /no/such\nexit 1\n");
    check(&["bogus"], "out| No help topic for 'bogus'\n");
    check(&["member", "bogus"], "out| No help topic for 'bogus'\n");
    check(&["put", "/a", "b"], "out| No help topic for 'put'\nerr| hint: did you mean 'set'?\n");
    check(&["gett", "/a"], "out| No help topic for 'gett'\nerr| hint: did you mean 'get'?\n");
    check(&["member", "lsit"], "out| No help topic for 'lsit'\nerr| hint: did you mean 'list'?\n");
    check(&["--version"], "out| etcdctl version 2.3.8\n");
    check(&["-v"], "out| etcdctl version 2.3.8\n");
    check(&["--ca-file", "/no/such", "get", "/a"], "err| open /no/such: no such file or directory\nexit 1\n");
    check(
        &["--cert-file", "/c", "get", "/a"],
        "err| KeyFile and CertFile must both be present[key: , cert: /c]\nexit 1\n",
    );
}

#[test]
fn an_invalid_flag_shows_the_help_of_the_command() {
    let page = Program::ours().run(&["set", "--help"], "");
    for arguments in [&["set", "/num", "-5"][..], &["set", "/k", "v", "--ttl", "abc"], &["set", "--bogus"]] {
        let output = Program::ours().run(arguments, "");
        let rest = output.strip_prefix("out| Incorrect Usage.\nout|\n").expect(&output);
        let rest = rest.strip_prefix(&page).expect(rest);
        assert!(rest.starts_with("err| ") && rest.ends_with("\nexit 1\n"), "{rest}");
    }
    assert_eq!(Program::ours().run(&["help", "set"], ""), page);
    assert_eq!(Program::ours().run(&["set", "-h"], ""), page);
}

#[test]
fn without_arguments_the_help_is_shown() {
    let page = Program::ours().run(&[], "");
    assert_eq!(Program::ours().run(&["help"], ""), page);
    assert_eq!(Program::ours().run(&["--help"], ""), page);
    assert!(page.contains("out|    cluster-health  ") && !page.contains("exit"), "{page}");
    let below = Program::ours().run(&["member"], "");
    assert_eq!(Program::ours().run(&["help", "member"], ""), below);
    assert!(below.contains("out|    update  "), "{below}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let mut child = Program::ours().start(&["help"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
