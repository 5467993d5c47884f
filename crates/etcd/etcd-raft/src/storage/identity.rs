//! The identity of a data directory, and the known directories (disks) of the other members. A member whose disk was
//! replaced has lost its vote and its log: under its old id it could undo a committed write. It is rejected until it
//! is removed and added again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

const FORMAT: &str = "keelson-member 1";
const IDENTITY: &str = "identity";
const PEER_DISKS: &str = "peer-disks";

/// The files start with a format line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub cluster_id: u64,
    pub member_id: u64,
    /// Random, chosen when the directory is created.
    pub disk: u128,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{0}")]
    Io(PathBuf, #[source] io::Error),
    #[error("{0} has an unsupported format: {1:?}")]
    Format(PathBuf, String),
    #[error("{0} is damaged at line {1}")]
    Damaged(PathBuf, usize),
    #[error(
        "{path} belongs to member {found_member:x} of cluster {found_cluster:x}, \
         not to member {member:x} of cluster {cluster:x}"
    )]
    Foreign { path: PathBuf, found_member: u64, found_cluster: u64, member: u64, cluster: u64 },
}

/// The identity of a data directory; `None` if no member was ever started there.
pub fn read(data_dir: &Path) -> Result<Option<Identity>, IdentityError> {
    let path = data_dir.join(IDENTITY);
    let Some(lines) = read_lines(&path)? else { return Ok(None) };
    let number = |line: usize, name: &str| {
        let text = lines.get(line - 1).and_then(|line| line.strip_prefix(name));
        text.and_then(|text| u128::from_str_radix(text, 16).ok())
            .ok_or_else(|| IdentityError::Damaged(path.clone(), line + 1))
    };
    Ok(Some(Identity {
        cluster_id: number(1, "cluster ")? as u64,
        member_id: number(2, "member ")? as u64,
        disk: number(3, "disk ")?,
    }))
}

/// Reads or creates the identity of `data_dir`; fails if it belongs to another member.
pub fn open_or_create(data_dir: &Path, cluster: u64, member: u64) -> Result<Identity, IdentityError> {
    let path = data_dir.join(IDENTITY);
    let in_path = |error| IdentityError::Io(path.clone(), error);
    if let Some(found) = read(data_dir)? {
        if (found.cluster_id, found.member_id) == (cluster, member) {
            return Ok(found);
        }
        return Err(IdentityError::Foreign {
            path,
            found_member: found.member_id,
            found_cluster: found.cluster_id,
            member,
            cluster,
        });
    }
    fs::create_dir_all(data_dir).map_err(in_path)?;
    let identity = Identity { cluster_id: cluster, member_id: member, disk: rand::random() };
    write_identity(&path, &identity).map_err(in_path)?;
    Ok(identity)
}

/// Assigns a new cluster id to a data directory, so that its former peers reject it.
pub fn assign_new_cluster_id(data_dir: &Path, old: &Identity) -> Result<Identity, IdentityError> {
    let new = Identity { cluster_id: new_id(), ..*old };
    let path = data_dir.join(IDENTITY);
    write_identity(&path, &new).map_err(|error| IdentityError::Io(path.clone(), error))?;
    Ok(new)
}

/// A random id; 0 stands for none.
pub fn new_id() -> u64 {
    rand::random_range(1..=u64::MAX)
}

fn write_identity(path: &Path, identity: &Identity) -> io::Result<()> {
    let Identity { cluster_id, member_id, disk } = identity;
    write_atomic(path, &format!("{FORMAT}\ncluster {cluster_id:x}\nmember {member_id:x}\ndisk {disk:x}\n"))
}

fn read_lines(path: &Path) -> Result<Option<Vec<String>>, IdentityError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IdentityError::Io(path.to_owned(), error)),
    };
    let mut lines = text.lines().map(str::to_owned);
    match lines.next() {
        Some(first) if first == FORMAT => Ok(Some(lines.collect())),
        first => Err(IdentityError::Format(path.to_owned(), first.unwrap_or_default())),
    }
}

/// Replaces a file atomically and durably. As root, a new file gets the owner of its directory.
pub fn write_atomic(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    let folder = fs::metadata(path.parent().unwrap_or(path))?;
    let created = file.metadata()?;
    if (folder.uid(), folder.gid()) != (created.uid(), created.gid()) && created.uid() == 0 {
        fchown(&file, Some(folder.uid()), Some(folder.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&part, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// The disks that this member has seen the other members with. A disk is recorded before a vote or an acknowledgement
/// is accepted from it.
pub struct PeerDisks {
    path: PathBuf,
    known: Mutex<BTreeMap<u64, u128>>,
}

impl PeerDisks {
    pub fn open(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(PEER_DISKS);
        let mut known = BTreeMap::new();
        for (number, line) in read_lines(&path)?.unwrap_or_default().iter().enumerate() {
            let parsed = line.split_once(' ').and_then(|(member, disk)| {
                let member = u64::from_str_radix(member, 16).ok()?;
                Some((member, u128::from_str_radix(disk, 16).ok()?))
            });
            let (member, disk) = parsed.ok_or_else(|| IdentityError::Damaged(path.clone(), number + 2))?;
            known.insert(member, disk);
        }
        Ok(Self { path, known: Mutex::new(known) })
    }

    /// Whether `disk` is the recorded disk of `member`. The first one seen is durably recorded.
    pub fn check_or_record(&self, member: u64, disk: u128) -> io::Result<bool> {
        let mut known = self.known.lock();
        if let Some(expected) = known.get(&member) {
            return Ok(*expected == disk);
        }
        let mut with_new = known.clone();
        with_new.insert(member, disk);
        let lines = with_new.iter().map(|(member, disk)| format!("{member:x} {disk:x}\n"));
        write_atomic(&self.path, &format!("{FORMAT}\n{}", lines.collect::<String>()))?;
        *known = with_new;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), None);
        let identity = open_or_create(folder.path(), 0xc, 0xa).unwrap();
        assert_eq!(open_or_create(folder.path(), 0xc, 0xa).unwrap(), identity);
        for (cluster, member) in [(0xc, 0xb), (0xd, 0xa)] {
            let refused = open_or_create(folder.path(), cluster, member);
            assert!(matches!(refused, Err(IdentityError::Foreign { .. })), "{refused:?}");
        }
    }

    #[test]
    fn an_unknown_format_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(IDENTITY);
        fs::write(&path, "keelson-member 2\nwhatever\n").unwrap();
        assert!(matches!(open_or_create(folder.path(), 1, 2), Err(IdentityError::Format(..))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "keelson-member 2\nwhatever\n");
    }

    #[test]
    fn a_replaced_disk_is_detected_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let disks = PeerDisks::open(folder.path()).unwrap();
        assert!(disks.check_or_record(1, 11).unwrap() && disks.check_or_record(2, 22).unwrap());
        assert!(disks.check_or_record(1, 11).unwrap());
        let again = PeerDisks::open(folder.path()).unwrap();
        assert!(!again.check_or_record(1, 12).unwrap());
        assert!(again.check_or_record(2, 22).unwrap());
    }
}
