//! The known hosts file: trusted host keys, one per line.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host_key::HostKey;
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
    hosts: Vec<String>,
    key: HostKey,
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

    pub fn verdict(&self, address: &Address, key: &HostKey) -> Verdict {
        let mut lines_of_host = self.lines_of_host(address).peekable();
        let first = lines_of_host.peek().map(|line| line.number);
        match first {
            None => Verdict::Unknown,
            Some(_) if lines_of_host.any(|line| line.key == *key) => Verdict::Known,
            Some(line) => Verdict::Changed { line },
        }
    }

    /// Known keys of the host.
    pub fn keys<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a HostKey> {
        self.lines_of_host(address).map(|line| &line.key)
    }

    fn lines_of_host<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = &'a Line> {
        let name = address.to_string();
        self.keys.iter().filter(move |line| line.hosts.contains(&name))
    }

    /// Appends the key to the file.
    pub fn add(&mut self, address: &Address, key: &HostKey) -> Result<(), Error> {
        let failed =
            |error: io::Error| Error::KnownHosts { path: self.path.clone(), cause: error.to_string() };
        append(&self.path, &format!("{address} {key}\n")).map_err(failed)?;
        self.lines += 1;
        self.keys.push(Line { number: self.lines, hosts: vec![address.to_string()], key: key.clone() });
        Ok(())
    }
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
    if line.starts_with('@') {
        return Err("markers are not supported");
    }
    if line.starts_with("|1|") {
        return Err("hashed host names are not supported");
    }
    let (hosts, key) = line.split_once(char::is_whitespace).ok_or("no key")?;
    let key = HostKey::parse(key).ok_or("no key that can be read")?;
    Ok(Some(Line { number, hosts: hosts.split(',').map(str::to_owned).collect(), key }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn key(text: &str) -> HostKey {
        HostKey::parse(text).unwrap()
    }

    #[test]
    fn verdicts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let text = format!(
            "# comment\n\na,[b]:2222 {ONE} me\n@revoked * {ONE}\n|1|x|y {ONE}\nc nonsense\nc {TWO}\nc {ONE}\n"
        );
        std::fs::write(&path, text).unwrap();
        let hosts = KnownHosts::read(&path).unwrap();
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
