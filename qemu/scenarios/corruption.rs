//! Corrupted disks: a machine runs what was signed at the build, or nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use image::sparse::copy_sparse;
use machines::cluster::BackendKind::Qemu;
use machines::ready::{Limit, Mark};

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Run, Scenario};

/// Label of the partition that a fresh machine boots from.
const LABEL: &str = "USR-A";
/// Distance between corrupted bytes, small enough that the boot certainly reads one of them.
const STEP: u64 = 64 * 1024;
/// Offset of the file system's superblock, without which it cannot be mounted.
const SUPERBLOCK: u64 = 1024;
/// Time until the error appears on the console.
const ERROR_LIMIT: Duration = Duration::from_secs(240);
/// Further time in which a machine that accepts corrupted data would have booted.
const BOOT_LIMIT: Duration = Duration::from_secs(60);

pub const FLIPPED_BYTE: Scenario = Scenario {
    name: "flipped-byte",
    about: "a machine does not run a /usr in which a byte was changed, and its console says so",
    nodes: 2,
    on: &[Qemu],
    long_on: &[Qemu],
    run: flipped_byte,
    ..DEFAULTS
};

/// Maps the partition's length to the offsets that are corrupted.
type Offsets = fn(u64) -> Vec<u64>;

fn flipped_byte(context: &Context<'_>) -> Result<(), Failure> {
    // One machine has one corrupted byte that the mount reads, the other one has many in its files.
    let damages: [(&str, Offsets); 2] = [
        ("one.raw", |_| vec![SUPERBLOCK]),
        ("many.raw", |length| (1..length / STEP).map(|n| n * STEP).collect()),
    ];
    for (number, (name, offsets)) in (1..).zip(damages) {
        let raw = context.site.layout().root().join(name);
        damage(context.run, &raw, offsets)?;
        context.site.replace_image(&raw)?;
        context.machine(number).power_on()?;
    }
    for number in [1, 2] {
        let machine = context.machine(number);
        machine.wait_for_console("corrupted", ERROR_LIMIT)?;
        let ready = context.site.wait_ready(machine.name(), &Mark::default(), Limit::Total(BOOT_LIMIT));
        expect(ready.is_err(), "a machine that does not get ready", "it is ready")?;
        expect(!machine.console().contains("login:"), "no login prompt", "the console offers a login")?;
    }
    Ok(())
}

/// Copies the image and flips one bit at each of these offsets of the `/usr` partition.
fn damage(run: &Run, target: &Path, offsets: Offsets) -> Result<(), Failure> {
    let failed = |source| Failure::Disk { path: target.to_path_buf(), source };
    copy_sparse(&run.image.raw, target).map_err(failed)?;
    let wrong = |source| Failure::Partitions { path: target.to_path_buf(), source };
    let disk = gpt::GptConfig::new().writable(false).open(target).map_err(wrong)?;
    let found = disk.partitions().values().find(|partition| partition.name.eq_ignore_ascii_case(LABEL));
    let names =
        || disk.partitions().values().map(|partition| partition.name.clone()).collect::<Vec<_>>().join(", ");
    let partition = found
        .ok_or_else(|| Failure::Expected(format!("expected a partition {LABEL}; there are {}", names())))?;
    let block = *disk.logical_block_size();
    let start = partition.bytes_start(block).map_err(|error| failed(std::io::Error::other(error)))?;
    let length = partition.bytes_len(block).map_err(|error| failed(std::io::Error::other(error)))?;
    let mut file = File::options().read(true).write(true).open(target).map_err(failed)?;
    let offsets = offsets(length);
    expect(!offsets.is_empty(), "a partition to damage", "it is empty")?;
    for offset in offsets {
        flip(&mut file, start + offset).map_err(failed)?;
    }
    Ok(())
}

fn flip(file: &mut File, at: u64) -> std::io::Result<()> {
    let mut byte = [0];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut byte)?;
    byte[0] ^= 1;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_changes_one_bit() {
        let folder = std::env::temp_dir().join(format!("keelson-copy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (from, to) = (folder.join("from"), folder.join("to"));
        let mut content = vec![0; 3 * 1024 * 1024 + 17];
        content[1_500_000] = 7;
        std::fs::write(&from, &content).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content);
        let mut file = File::options().read(true).write(true).open(&to).unwrap();
        flip(&mut file, 1_500_000).unwrap();
        let changed = std::fs::read(&to).unwrap();
        assert_eq!(changed.iter().zip(&content).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(changed[1_500_000], 6);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
