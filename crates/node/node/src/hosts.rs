//! Adds host names from the credential `keelson.hosts` to `/etc/hosts`, such as `host.keelson` on machines of
//! `keelson up`. Each line has an address and names.

use std::io;

use crate::file_merge::merge_file;
use crate::root::Root;

const CREDENTIAL: &str = "/run/credentials/@system/keelson.hosts";
const HOSTS: &str = "/etc/hosts";

/// Writes missing lines and returns their names. Does nothing without the credential.
///
/// # Errors
/// A file exists but cannot be read or replaced, or is not UTF-8.
pub fn write(root: &Root) -> io::Result<Vec<String>> {
    let hosts = match std::fs::read_to_string(root.at(CREDENTIAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let changed = merge_file(&root.at(HOSTS), |before| merge(before, &hosts))?;
    let names = hosts.lines().filter_map(name).map(str::to_owned).collect();
    Ok(if changed { names } else { Vec::new() })
}

/// The first name of a line with address and name.
fn name(line: &str) -> Option<&str> {
    line.split('#').next()?.split_ascii_whitespace().nth(1)
}

/// Replaces the first line of each name, and appends missing ones.
fn merge(text: &str, hosts: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for line in hosts.lines() {
        let Some(hostname) = name(line) else { continue };
        match lines.iter().position(|old| name(old) == Some(hostname)) {
            Some(index) => lines[index] = line,
            None => lines.push(line),
        }
    }
    lines.iter().flat_map(|line| [*line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn hosts_are_merged() {
        let check = |before: &str, after: &str| {
            let hosts = "10.0.2.2 host.keelson\n\n# nothing\n";
            assert_eq!(merge(before, hosts), after);
            assert_eq!(merge(after, hosts), after, "a second run changes nothing");
        };
        check("", "10.0.2.2 host.keelson\n");
        check("127.0.0.1 localhost", "127.0.0.1 localhost\n10.0.2.2 host.keelson\n");
        check("1.2.3.4 host.keelson old\n# end\n", "10.0.2.2 host.keelson\n# end\n");
        check("# 1.2.3.4 host.keelson\n", "# 1.2.3.4 host.keelson\n10.0.2.2 host.keelson\n");
    }

    #[test]
    fn missing_credential_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::from(folder.path());
        assert!(write(&root).unwrap().is_empty());
        assert!(!root.at(HOSTS).exists());
        std::fs::create_dir_all(root.at("/etc")).unwrap();
        std::fs::create_dir_all(root.at(Path::new(CREDENTIAL).parent().unwrap())).unwrap();
        std::fs::write(root.at(CREDENTIAL), "10.0.2.2 host.keelson\n").unwrap();
        assert_eq!(write(&root).unwrap(), ["host.keelson"]);
        assert!(write(&root).unwrap().is_empty(), "it says so already");
        assert_eq!(std::fs::read_to_string(root.at(HOSTS)).unwrap(), "10.0.2.2 host.keelson\n");
    }
}
