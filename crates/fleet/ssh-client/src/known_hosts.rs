//! The known hosts file: trusted host keys, one per line.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host_key::HostKey;
use crate::host_pattern::HostPattern;
use crate::limits::KNOWN_HOSTS_BYTES;
use crate::settings::Address;

/// Result of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    Unknown,
    /// Only other keys are known; `line` of the first.
    Changed {
        line: usize,
    },
    /// The key must not be used for this host, even if another line trusts it.
    Revoked {
        line: usize,
    },
}

#[derive(Debug)]
pub struct KnownHosts {
    path: PathBuf,
    keys: Vec<Line>,
    /// Number of lines in the file, including those without a key.
    lines: usize,
}

#[derive(Debug)]
struct Line {
    number: usize,
    hosts: HostPattern,
    key: HostKey,
    /// Marked `@revoked`.
    revoked: bool,
}

impl KnownHosts {
    /// A missing file is empty. Invalid and unsupported lines are skipped with a warning.
    pub fn read(path: &Path) -> Result<KnownHosts, Error> {
        let failed = |error: io::Error| Error::KnownHosts { path: path.to_owned(), cause: error.to_string() };
        let mut text = String::new();
        match File::open(path) {
            Ok(file) => {
                let length = file.take(KNOWN_HOSTS_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
                if length as u64 > KNOWN_HOSTS_BYTES {
                    return Err(failed(io::Error::other(format!("longer than {KNOWN_HOSTS_BYTES} bytes"))));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            match parse_line(index + 1, line) {
                Ok(line) => keys.extend(line),
                Err(reason) => {
                    eprintln!("WARNING: {}:{}: {reason}, the line is passed over", path.display(), index + 1)
                }
            }
        }
        Ok(KnownHosts { path: path.to_owned(), keys, lines: text.lines().count() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn verdict(&self, address: &Address, key: &HostKey) -> Verdict {
        let lines = self.lines_of_host(address);
        if let Some(line) = revocation(&lines, key) {
            return Verdict::Revoked { line };
        }
        let mut trusting = lines.iter().filter(|line| !line.revoked).peekable();
        let first = trusting.peek().map(|line| line.number);
        match first {
            None => Verdict::Unknown,
            Some(_) if trusting.any(|line| line.key == *key) => Verdict::Known,
            Some(line) => Verdict::Changed { line },
        }
    }

    /// Known keys of the host that are not revoked.
    pub fn keys(&self, address: &Address) -> Vec<&HostKey> {
        let lines = self.lines_of_host(address);
        let trusting = lines.iter().filter(|line| !line.revoked && revocation(&lines, &line.key).is_none());
        trusting.map(|line| &line.key).collect()
    }

    fn lines_of_host(&self, address: &Address) -> Vec<&Line> {
        let name = address.to_string();
        self.keys.iter().filter(|line| line.hosts.matches(&name)).collect()
    }

    /// Appends the key to the file.
    pub fn add(&mut self, address: &Address, key: &HostKey) -> Result<(), Error> {
        let failed =
            |error: io::Error| Error::KnownHosts { path: self.path.clone(), cause: error.to_string() };
        append(&self.path, &format!("{address} {key}\n")).map_err(failed)?;
        self.lines += 1;
        let hosts = HostPattern::exact(&address.to_string());
        self.keys.push(Line { number: self.lines, hosts, key: key.clone(), revoked: false });
        Ok(())
    }
}

/// The first line that revokes the key.
fn revocation(lines_of_host: &[&Line], key: &HostKey) -> Option<usize> {
    lines_of_host.iter().find(|line| line.revoked && line.key == *key).map(|line| line.number)
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // The last line may lack a newline.
    let before = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let gap = if before.is_empty() || before.ends_with(b"\n") { "" } else { "\n" };
    let mut file = OpenOptions::new().create(true).append(true).mode(0o644).open(path)?;
    file.write_all(format!("{gap}{line}").as_bytes())
}

/// `None` for blank lines and comments.
fn parse_line(number: usize, line: &str) -> Result<Option<Line>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (marker, rest) = match line.split_once(char::is_whitespace) {
        Some((marker, rest)) if marker.starts_with('@') => (Some(marker), rest.trim_start()),
        _ => (None, line),
    };
    let revoked = match marker {
        None => false,
        Some("@revoked") => true,
        Some("@cert-authority") => return Err("certificate authorities are not supported"),
        Some(_) => return Err("unknown marker"),
    };
    let (hosts, key) = rest.split_once(char::is_whitespace).ok_or("no key")?;
    let key = HostKey::parse(key).ok_or("no key that can be read")?;
    Ok(Some(Line { number, hosts: HostPattern::parse(hosts)?, key, revoked }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    /// `hidden`, hashed by `ssh-keygen -H`.
    const HASHED: &str = "|1|GprogWTqw1Wnrl3QC9c8EElnWBk=|e8M9XJ2Boz+ArtxzyCl3Zjxlouw=";

    fn key(text: &str) -> HostKey {
        HostKey::parse(text).unwrap()
    }

    fn hosts(text: &str) -> (tempfile::TempDir, KnownHosts) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        std::fs::write(&path, text).unwrap();
        let hosts = KnownHosts::read(&path).unwrap();
        (folder, hosts)
    }

    #[test]
    fn verdicts() {
        let text = format!(
            "# comment\n\na,[b]:2222 {ONE} me\n@cert-authority * {TWO}\n|1|x|y {ONE}\n@other * {TWO}\n\
             c nonsense\nc {TWO}\nc {ONE}\n*.example,!x.example {ONE}\n{HASHED} {ONE}\n"
        );
        let (_folder, hosts) = hosts(&text);
        let check = |host: &str, port: u16, text: &str, expect: Verdict| {
            assert_eq!(hosts.verdict(&Address::new(host, port), &key(text)), expect, "{host}:{port}");
        };
        check("a", 22, ONE, Verdict::Known);
        check("a", 22, TWO, Verdict::Changed { line: 3 });
        check("a", 2222, ONE, Verdict::Unknown);
        check("b", 2222, ONE, Verdict::Known);
        check("b", 22, ONE, Verdict::Unknown);
        check("c", 22, ONE, Verdict::Known);
        check("d", 22, ONE, Verdict::Unknown);
        check("y.example", 22, ONE, Verdict::Known);
        check("x.example", 22, ONE, Verdict::Unknown);
        check("hidden", 22, ONE, Verdict::Known);
        // A hashed line protects against another key, too: it is no unknown host to be confirmed.
        check("hidden", 22, TWO, Verdict::Changed { line: 11 });
        check("hidden", 2222, ONE, Verdict::Unknown);
    }

    #[test]
    fn revoked_keys_are_never_trusted() {
        let check = |text: &str, expect: Verdict, keys: &[&str]| {
            let (_folder, hosts) = hosts(text);
            let address = Address::new("hidden", 22);
            assert_eq!(hosts.verdict(&address, &key(ONE)), expect, "{text}");
            let trusted: Vec<String> = hosts.keys(&address).iter().map(ToString::to_string).collect();
            assert_eq!(trusted, keys, "{text}");
        };
        check(&format!("hidden {ONE}\n@revoked * {ONE}\n"), Verdict::Revoked { line: 2 }, &[]);
        check(&format!("@revoked hidden {ONE} stolen\n* {ONE}\n"), Verdict::Revoked { line: 1 }, &[]);
        check(&format!("@revoked\t{HASHED}\t{ONE}\n"), Verdict::Revoked { line: 1 }, &[]);
        check(&format!("@revoked * {TWO}\nhidden {TWO}\nhidden {ONE}\n"), Verdict::Known, &[ONE]);
        // Other hosts may use it.
        check(&format!("@revoked *,!hidden {ONE}\nhidden {ONE}\n"), Verdict::Known, &[ONE]);
        // Not a changed key: the host has no other.
        check(&format!("@revoked * {TWO}\n"), Verdict::Unknown, &[]);
    }

    #[test]
    fn added_hosts_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/known_hosts");
        let (first, second) = (Address::new("a", 22), Address::new("b", 2222));
        KnownHosts::read(&path).unwrap().add(&first, &key(ONE)).unwrap();
        KnownHosts::read(&path).unwrap().add(&second, &key(TWO)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("a {ONE}\n[b]:2222 {TWO}\n"));
        let mut hosts = KnownHosts::read(&path).unwrap();
        assert_eq!(hosts.verdict(&first, &key(ONE)), Verdict::Known);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path) & !0o044, 0o600);
        std::fs::write(&path, "x y").unwrap();
        hosts.add(&first, &key(ONE)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("x y\na {ONE}\n"));
        // Known without reading the file again.
        hosts.add(&Address::new("c", 22), &key(TWO)).unwrap();
        assert_eq!(hosts.verdict(&Address::new("c", 22), &key(ONE)), Verdict::Changed { line: 4 });
    }
}
