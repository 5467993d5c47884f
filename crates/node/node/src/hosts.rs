//! Names that whoever runs the machine gives it, put into `/etc/hosts`: `host.keelson` on a machine of
//! `keelson up`. They come as the credential `keelson.hosts`, lines of address and name.

use std::io;

use crate::merged::merge_file;
use crate::root::Root;

const CREDENTIAL: &str = "/run/credentials/@system/keelson.hosts";
const HOSTS: &str = "/etc/hosts";

/// Writes what is missing; returns the names that were written. A machine without the credential has none.
///
/// # Errors
/// A file that is there cannot be read or replaced, or is no text.
pub fn write(root: &Root) -> io::Result<Vec<String>> {
    let given = match std::fs::read_to_string(root.at(CREDENTIAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let changed = merge_file(&root.at(HOSTS), |before| merge(before, &given))?;
    let names = given.lines().filter_map(name).map(str::to_owned).collect();
    Ok(if changed { names } else { Vec::new() })
}

/// The first name of a line that has an address and a name.
fn name(line: &str) -> Option<&str> {
    line.split('#').next()?.split_ascii_whitespace().nth(1)
}

/// `text` with the first line of each given name replaced, and missing ones added at the end.
fn merge(text: &str, given: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    for line in given.lines() {
        let Some(wanted) = name(line) else { continue };
        match lines.iter().position(|old| name(old) == Some(wanted)) {
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
    fn given_names_are_merged_and_other_lines_stay() {
        let check = |before: &str, after: &str| {
            let given = "10.0.2.2 host.keelson\n\n# nothing\n";
            assert_eq!(merge(before, given), after);
            assert_eq!(merge(after, given), after, "a second run changes nothing");
        };
        check("", "10.0.2.2 host.keelson\n");
        check("127.0.0.1 localhost", "127.0.0.1 localhost\n10.0.2.2 host.keelson\n");
        check("1.2.3.4 host.keelson old\n# end\n", "10.0.2.2 host.keelson\n# end\n");
        check("# 1.2.3.4 host.keelson\n", "# 1.2.3.4 host.keelson\n10.0.2.2 host.keelson\n");
    }

    #[test]
    fn without_the_credential_nothing_is_touched() {
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
