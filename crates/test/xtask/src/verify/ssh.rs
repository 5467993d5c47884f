//! `fleetctl` over a real SSH server: the ignored tests `ssh` of crate `fleetctl`. If a program is missing, it is
//! reported and the tests do not run: a test that returned early would count as passed.

use std::path::Path;

use anyhow::Result;

use super::packages;
use super::result::{State, judge};
use crate::command::{ignored_tests, show};
use crate::root_access::RootAccess;
use crate::workspace::Workspace;

/// Programs, each with the package that contains it.
const PROGRAMS: [(&str, &str); 7] = [
    ("/usr/sbin/sshd", "openssh-server"),
    ("/usr/bin/ssh", "openssh-client"),
    ("/usr/bin/ssh-agent", "openssh-client"),
    ("/usr/bin/ssh-add", "openssh-client"),
    ("/usr/bin/ssh-keygen", "openssh-client"),
    ("/usr/bin/script", "bsdutils"),
    ("/usr/bin/unshare", "util-linux"),
];

pub fn run(workspace: &Workspace) -> Result<State> {
    let access = RootAccess::of_this_process();
    if let Some(why) = missing(access.is_available(), |path| path.exists()) {
        return Ok(State::Skipped(why));
    }
    let mut command = ignored_tests(&workspace.root, &["--test", "command_line"]);
    access.run_tests(&mut command);
    Ok(judge(&show(command.arg("ssh::"))?))
}

fn missing(root: bool, exists: impl Fn(&Path) -> bool) -> Option<String> {
    let root = if root { Ok(()) } else { Err("a server with a user of our choice wants root") };
    packages::missing_file(&PROGRAMS, root, exists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(true, |_| true), None);
        assert!(missing(false, |_| true).unwrap().contains("root"));
        let why = missing(true, |path| !path.ends_with("sshd")).unwrap();
        assert!(why.contains("/usr/sbin/sshd") && why.contains("openssh-server"), "{why}");
    }
}
