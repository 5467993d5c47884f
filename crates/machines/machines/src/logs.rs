//! The logs of machines, which nothing else bounds: consoles, and what background processes say.
//!
//! Writers append and keep a log open for as long as they run, so that it cannot be cut. What is left out is made a
//! hole instead: places in the log stay what they were, and it takes no room. Kept are the end, and the beginning of
//! the last boots, where it is told why one failed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::limits;

/// How a boot begins on a console: by the firmware's word in QEMU, by the keeper's in a container.
const BOOTS: [&[u8]; 2] = [b"BdsDxe: loading Boot", KEEPER_BOOTS.as_bytes()];
/// What a container's keeper writes into its console's log before each boot.
pub const KEEPER_BOOTS: &str = "keelson: the container boots\r\n";
/// Holes begin and end where the file system's blocks do.
const BLOCK: u64 = 4096;

/// From one place of a log to another.
type Range = (u64, u64);

/// Bounds the logs of machines, again and again; `names` tells which there are in the cluster's folder now.
pub fn tend(root: &Path, names: impl Fn() -> Vec<String>) {
    // A file system without holes has none the next time either.
    let mut hopeless = BTreeSet::new();
    loop {
        for log in names().iter().flat_map(|name| logs(&root.join(name))) {
            if !hopeless.contains(&log)
                && let Err(error) = bound(&log)
            {
                eprintln!("{} grows without a bound: {error}", log.display());
                hopeless.insert(log);
            }
        }
        std::thread::sleep(limits::LOG_LOOK);
    }
}

/// The logs in a machine's folder.
fn logs(folder: &Path) -> Vec<PathBuf> {
    let logs = ["console.log", "process.log"].map(|name| folder.join(name));
    logs.into_iter().filter(|log| log.is_file()).collect()
}

/// Leaves out the middle of a log that has become too large.
pub fn bound(log: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(log)?;
    let data = file.metadata()?;
    if data.blocks() * 512 <= limits::LOG_MAX {
        return Ok(());
    }
    let extents = extents(&file)?;
    let mut boots = Vec::new();
    for extent in &extents {
        boots.extend(beginnings(&read(&file, *extent)?).into_iter().map(|place| extent.0 + place));
    }
    for (from, to) in surplus(&extents, &boots, data.len()) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, flags, signed(from)?, signed(to - from)?)?;
    }
    Ok(())
}

/// What of a log's `extents` is left out: all but the beginning of the last `boots`, and the end.
fn surplus(extents: &[Range], boots: &[u64], length: u64) -> Vec<Range> {
    let last = &boots[boots.len().saturating_sub(limits::LOG_BOOTS)..];
    // The firmware clears the screen before it says what it boots: that is a part of the beginning.
    let heads = last.iter().map(|boot| (boot.saturating_sub(BLOCK), boot.saturating_add(limits::LOG_HEAD)));
    let mut kept: Vec<Range> = heads.chain([(length.saturating_sub(limits::LOG_TAIL), u64::MAX)]).collect();
    kept.sort_unstable();
    let mut surplus = Vec::new();
    for (from, to) in extents {
        let mut at = *from;
        for (first, end) in kept.iter().copied().chain([(u64::MAX, u64::MAX)]) {
            if at >= *to {
                break;
            }
            let (begin, stop) = (at.next_multiple_of(BLOCK), first.min(*to) / BLOCK * BLOCK);
            if begin < stop {
                surplus.push((begin, stop));
            }
            at = at.max(end);
        }
    }
    surplus
}

fn beginnings(text: &[u8]) -> Vec<u64> {
    let begins = |place: &usize| BOOTS.iter().any(|boot| text[*place..].starts_with(boot));
    (0..text.len()).filter(begins).filter_map(|place| u64::try_from(place).ok()).collect()
}

/// The whole of a log, with a word for what was left out.
pub fn read_all(log: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(log)?;
    let mut shown = Vec::new();
    let mut at = 0;
    for extent in extents(&file)? {
        if extent.0 > at {
            shown.extend_from_slice(format!("\r\n[{} bytes were left out]\r\n", extent.0 - at).as_bytes());
        }
        shown.extend(read(&file, extent)?);
        at = extent.1;
    }
    Ok(shown)
}

/// Where the file has content.
fn extents(file: &File) -> io::Result<Vec<Range>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let from = match lseek(file, at, Whence::SeekData) {
            Ok(from) => from,
            Err(nix::errno::Errno::ENXIO) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        at = lseek(file, from, Whence::SeekHole)?;
        found.push((from.unsigned_abs(), at.unsigned_abs()));
    }
}

fn read(file: &File, (from, to): Range) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

fn signed(place: u64) -> io::Result<i64> {
    i64::try_from(place).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Lines that each say at which place of the log they stand.
    fn noise(log: &mut File, bytes: u64) {
        let mut text = Vec::new();
        let begun = log.metadata().unwrap().len();
        let place = |text: &Vec<u8>| begun + u64::try_from(text.len()).unwrap();
        while place(&text) < begun + bytes {
            let line = format!("line at {:016}\r\n", place(&text));
            text.extend_from_slice(line.as_bytes());
        }
        log.write_all(&text).unwrap();
    }

    #[test]
    fn a_log_that_grows_without_end_keeps_its_end_and_the_beginning_of_each_boot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        let mut log = File::options().create(true).append(true).open(&path).unwrap();
        let boots = 2 * limits::LOG_BOOTS;
        for boot in 0..boots {
            writeln!(
                log,
                "{}first words of boot {boot};",
                if boot % 2 == 0 { "BdsDxe: loading Boot0001\r\n" } else { KEEPER_BOOTS }
            )
            .unwrap();
            noise(&mut log, 2 * limits::LOG_MAX / u64::try_from(boots).unwrap());
            bound(&path).unwrap();
            let taken = path.metadata().unwrap().blocks() * 512;
            assert!(taken <= limits::LOG_MAX + limits::LOG_TAIL, "it takes {taken} bytes");
        }
        log.write_all(b"the end").unwrap();
        let length = path.metadata().unwrap().len();
        let shown = String::from_utf8(read_all(&path).unwrap()).unwrap();
        assert!(length > limits::LOG_MAX && u64::try_from(shown.len()).unwrap() < limits::LOG_MAX);
        assert!(shown.ends_with("the end") && shown.contains("bytes were left out]"));
        for boot in boots - limits::LOG_BOOTS..boots {
            assert!(shown.contains(&format!("first words of boot {boot};")), "boot {boot} is gone");
        }
        // Places stay what they were.
        let whole = std::fs::read(&path).unwrap();
        let line = shown.rmatch_indices("line at ").nth(1).unwrap().0;
        let place: usize = shown[line + 8..line + 24].parse().unwrap();
        assert!(whole[place..].starts_with(&shown.as_bytes()[line..line + 24]));
    }

    #[test]
    fn a_small_log_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("process.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        bound(&path).unwrap();
        assert_eq!(read_all(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(logs(folder.path()), [path]);
    }
}
