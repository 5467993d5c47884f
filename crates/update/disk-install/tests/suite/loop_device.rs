//! Installs on a loop device, as on a disk.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk_install::check::{Kind, check};
use disk_install::{DiskTarget, Installation, Observer, install};
use disk_slots::Disk;

const MIB: u64 = 1 << 20;

/// Detached when dropped.
struct LoopDevice(PathBuf);

impl LoopDevice {
    fn attach(file: &Path) -> Self {
        let output =
            Command::new("losetup").args(["--find", "--show", "--partscan"]).arg(file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).unwrap().trim().into())
    }

    fn uses(&self) -> Vec<String> {
        let facts = Observer::new(Path::new("/")).unwrap().target(&self.0).unwrap();
        assert_eq!((facts.kind.clone(), facts.bytes, facts.major), (Kind::Loop, 24 * MIB, 7));
        check(&facts).iter().map(ToString::to_string).collect()
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        Command::new("losetup").arg("-d").arg(&self.0).status().unwrap();
    }
}

/// An image with one partition.
fn image() -> Vec<u8> {
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let device = std::io::Cursor::new(vec![0; 16 * MIB as usize]);
    let mut table = config.create_from_device(device, None).unwrap();
    table.add_partition("OEM", 12 * MIB, gpt::partition_types::BASIC, 0, Some(MIB / 512)).unwrap();
    let mut bytes = table.write().unwrap().into_inner();
    for (at, byte) in bytes.iter_mut().enumerate().skip(2 << 20).take(3 << 20) {
        *byte = (at % 251) as u8;
    }
    bytes
}

#[test]
#[ignore = "needs root and a loop device; cargo verify wants"]
fn a_device_is_claimed_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    // Garbage, of which both ends are cleared.
    fs::write(&disk, vec![0xa5; 24 * MIB as usize]).unwrap();
    let device = LoopDevice::attach(&disk);
    assert!(device.uses().is_empty());
    let image = image();
    let mut stream = &*image;
    let mut target = DiskTarget::open(&device.0).unwrap();
    let second = DiskTarget::open(&device.0).unwrap_err();
    assert_eq!(second.kind(), std::io::ErrorKind::ResourceBusy);
    let length = target.length().unwrap();
    let installation = Installation::begin::<Infallible>(&mut stream, |_| length).unwrap();
    let (verify, add) = (|_, _: &_| Ok(()), |_: &mut DiskTarget| Ok::<_, Infallible>(()));
    install(&installation, stream, &mut target, verify, add, &mut |_, _, _| ()).unwrap();
    target.reread_partitions().unwrap();
    let written = fs::read(&disk).unwrap();
    assert!(written[1 << 20..13 << 20] == image[1 << 20..13 << 20]);
    assert_eq!(&written[24 * MIB as usize - 512..][..8], b"EFI PART");
    drop(target);
    a_mount_is_found(&device, folder.path());
}

/// The device itself has a file system: whether a kernel shows partitions is its own choice.
fn a_mount_is_found(device: &LoopDevice, folder: &Path) {
    let mount = folder.join("mount");
    fs::create_dir(&mount).unwrap();
    assert!(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&device.0).status().unwrap().success());
    assert!(Command::new("mount").args(["-t", "ext4"]).args([&device.0, &mount]).status().unwrap().success());
    let uses = device.uses();
    let busy = DiskTarget::open(&device.0).map(drop);
    assert!(Command::new("umount").arg(&mount).status().unwrap().success());
    let expected =
        format!("{} is mounted at {1} (to free it: umount {1})", device.0.display(), mount.display());
    assert!(uses.len() == 1 && uses[0].contains(&expected), "{uses:?}");
    assert!(busy.is_err());
    assert!(device.uses().is_empty());
}
