//! `update.conf`: `KEY=value` lines in shell syntax, in several files. The first file that has a key wins (contract
//! 2.1).

/// A file of settings, as read.
#[derive(Debug, Clone)]
pub struct ConfFile {
    /// For locations in messages.
    pub path: String,
    /// The complete content.
    pub text: String,
}

/// A value and its location, `/etc/coreos/update.conf:3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Without surrounding quotes; may be empty.
    pub value: String,
    /// File and line.
    pub location: String,
}

/// The value of `key` in the first file that has it, even if it is empty there. Of several lines the last one wins,
/// as in a shell.
#[must_use]
pub fn lookup(files: &[ConfFile], key: &str) -> Option<Setting> {
    files.iter().find_map(|file| {
        let lines = file.text.lines().enumerate();
        let found = lines.filter_map(|(at, line)| Some((at, value(line, key)?)));
        let (at, value) = found.last()?;
        Some(Setting { value, location: format!("{}:{}", file.path, at + 1) })
    })
}

fn value(line: &str, key: &str) -> Option<String> {
    let line = line.trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    (name == key).then(|| unquote(value.trim_end()))
}

/// Strips one pair of surrounding quotes.
fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner.to_owned();
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_with_the_key_wins() {
        let file = |path: &str, text: &str| ConfFile { path: path.into(), text: text.into() };
        let files = [
            file("/etc", "# SERVER=no\nGROUP=\n REBOOT_STRATEGY='off'\nSERVER_=x\n"),
            file(
                "/usr",
                "GROUP=stable\nSERVER=\"http://a/v1/update/\"\nREBOOT_STRATEGY=reboot\nX=1\nexport X=2\n",
            ),
        ];
        let check = |key: &str, expect: Option<(&str, &str)>| {
            let found = lookup(&files, key);
            let found = found.as_ref().map(|found| (found.value.as_str(), found.location.as_str()));
            assert_eq!(found, expect, "{key}");
        };
        check("GROUP", Some(("", "/etc:2")));
        check("SERVER", Some(("http://a/v1/update/", "/usr:2")));
        check("REBOOT_STRATEGY", Some(("off", "/etc:3")));
        check("X", Some(("2", "/usr:5")));
        check("Y", None);
    }
}
