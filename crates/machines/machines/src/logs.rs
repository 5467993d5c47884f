//! Limits the size of machine logs: consoles and output of background processes.
//!
//! Writers keep a log open in append mode, so it cannot be truncated. Instead, the middle becomes a hole: offsets
//! stay valid and the hole takes no disk space. The end is kept, and the start of the last boots, where the cause of
//! a failed one is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use crate::limits;

/// Start of a boot on the console: the firmware's line in QEMU, the supervisor's in a container.
const BOOT_LINES: [&[u8]; 2] = [b"BdsDxe: loading Boot", CONTAINER_BOOT_LINE.as_bytes()];
/// The supervisor writes this line to the console log before each boot of a container.
pub const CONTAINER_BOOT_LINE: &str = "keelson: the container boots\r\n";
/// Holes are aligned to the file system's blocks.
const BLOCK: u64 = 4096;

/// Start and end offset in a log.
type Range = (u64, u64);

/// Limits the logs of machines periodically. `names` returns the machines in the cluster's folder.
pub fn limit_logs(root: &Path, names: impl Fn() -> Vec<String>) {
    // File systems without hole support are not retried.
    let mut unsupported = BTreeSet::new();
    loop {
        for log in names().iter().flat_map(|name| logs(&root.join(name))) {
            if !unsupported.contains(&log)
                && let Err(error) = limit_size(&log)
            {
                eprintln!("cannot limit the size of {}: {error}", log.display());
                unsupported.insert(log);
            }
        }
        std::thread::sleep(limits::LOG_CHECK_INTERVAL);
    }
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let logs = ["console.log", "process.log"].map(|name| folder.join(name));
    logs.into_iter().filter(|log| log.is_file()).collect()
}

/// Discards the middle of a log that exceeds the limit.
pub fn limit_size(log: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(log)?;
    let data = file.metadata()?;
    if data.blocks() * 512 <= limits::LOG_MAX {
        return Ok(());
    }
    let extents = extents(&file)?;
    let mut boots = Vec::new();
    for extent in &extents {
        boots.extend(boot_offsets(&read(&file, *extent)?).into_iter().map(|offset| extent.0 + offset));
    }
    for (from, to) in ranges_to_discard(&extents, &boots, data.len()) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, flags, to_offset(from)?, to_offset(to - from)?)?;
    }
    Ok(())
}

/// The parts of a log's `extents` to discard: all but the start of the last `boots`, and the end.
fn ranges_to_discard(extents: &[Range], boots: &[u64], length: u64) -> Vec<Range> {
    let last = &boots[boots.len().saturating_sub(limits::LOG_BOOTS)..];
    // Includes the block before: the firmware clears the screen before it prints its line.
    let heads = last.iter().map(|boot| (boot.saturating_sub(BLOCK), boot.saturating_add(limits::LOG_HEAD)));
    let mut kept: Vec<Range> = heads.chain([(length.saturating_sub(limits::LOG_TAIL), u64::MAX)]).collect();
    kept.sort_unstable();
    let mut ranges_to_discard = Vec::new();
    for (from, to) in extents {
        let mut at = *from;
        for (first, end) in kept.iter().copied().chain([(u64::MAX, u64::MAX)]) {
            if at >= *to {
                break;
            }
            let (begin, stop) = (at.next_multiple_of(BLOCK), first.min(*to) / BLOCK * BLOCK);
            if begin < stop {
                ranges_to_discard.push((begin, stop));
            }
            at = at.max(end);
        }
    }
    ranges_to_discard
}

fn boot_offsets(text: &[u8]) -> Vec<u64> {
    let starts_boot = |offset: &usize| BOOT_LINES.iter().any(|boot| text[*offset..].starts_with(boot));
    (0..text.len()).filter(starts_boot).filter_map(|offset| u64::try_from(offset).ok()).collect()
}

/// Reads a log, with a note for each discarded range.
pub fn read_all(log: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(log)?;
    let mut text = Vec::new();
    let mut at = 0;
    for extent in extents(&file)? {
        if extent.0 > at {
            text.extend_from_slice(format!("\r\n[{} bytes omitted]\r\n", extent.0 - at).as_bytes());
        }
        text.extend(read(&file, extent)?);
        at = extent.1;
    }
    Ok(text)
}

/// The ranges of the file that contain data.
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

fn to_offset(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Writes lines that contain their own offset.
    fn noise(log: &mut File, bytes: u64) {
        let mut text = Vec::new();
        let started_at = log.metadata().unwrap().len();
        let offset = |text: &Vec<u8>| started_at + u64::try_from(text.len()).unwrap();
        while offset(&text) < started_at + bytes {
            let line = format!("line at {:016}\r\n", offset(&text));
            text.extend_from_slice(line.as_bytes());
        }
        log.write_all(&text).unwrap();
    }

    #[test]
    fn a_growing_log_keeps_its_end_and_the_start_of_recent_boots() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("console.log");
        let mut log = File::options().create(true).append(true).open(&path).unwrap();
        let boots = 2 * limits::LOG_BOOTS;
        for boot in 0..boots {
            writeln!(
                log,
                "{}first words of boot {boot};",
                if boot % 2 == 0 { "BdsDxe: loading Boot0001\r\n" } else { CONTAINER_BOOT_LINE }
            )
            .unwrap();
            noise(&mut log, 2 * limits::LOG_MAX / u64::try_from(boots).unwrap());
            limit_size(&path).unwrap();
            let taken = path.metadata().unwrap().blocks() * 512;
            assert!(taken <= limits::LOG_MAX + limits::LOG_TAIL, "it takes {taken} bytes");
        }
        log.write_all(b"the end").unwrap();
        let length = path.metadata().unwrap().len();
        let text = String::from_utf8(read_all(&path).unwrap()).unwrap();
        assert!(length > limits::LOG_MAX && u64::try_from(text.len()).unwrap() < limits::LOG_MAX);
        assert!(text.ends_with("the end") && text.contains("bytes omitted]"));
        for boot in boots - limits::LOG_BOOTS..boots {
            assert!(text.contains(&format!("first words of boot {boot};")), "boot {boot} is gone");
        }
        // Offsets are unchanged.
        let whole = std::fs::read(&path).unwrap();
        let line = text.rmatch_indices("line at ").nth(1).unwrap().0;
        let offset: usize = text[line + 8..line + 24].parse().unwrap();
        assert!(whole[offset..].starts_with(&text.as_bytes()[line..line + 24]));
    }

    #[test]
    fn a_small_log_is_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("process.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        limit_size(&path).unwrap();
        assert_eq!(read_all(&path).unwrap(), b"one\ntwo\n");
        assert_eq!(logs(folder.path()), [path]);
    }
}
