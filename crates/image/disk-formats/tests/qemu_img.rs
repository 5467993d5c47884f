//! Disks of this crate, read back by QEMU's and the host's independent readers.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use disk_formats::archive::write_sparse;
use disk_formats::deflate::Deflater;
use disk_formats::vdi::{self, Uuids};
use disk_formats::vmdk::{self, Adapter, ContentId, Descriptor};
use disk_formats::{vhd, vhdx};

/// Several of VMDK's tables, the last of them not full, and some of them empty.
const LENGTH: u64 = 300 << 20;

/// Writes a disk with holes, with data at the ends of blocks, and with data that does not compress.
fn raw_disk(path: &Path) -> File {
    let mut disk = File::create_new(path).unwrap();
    let noise: Vec<u8> =
        (0_u32..100_000).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for at in [0, (1 << 20) - 3, 33 << 20, LENGTH - noise.len() as u64] {
        disk.seek(SeekFrom::Start(at)).unwrap();
        disk.write_all(&noise).unwrap();
    }
    disk.set_len(LENGTH).unwrap();
    File::open(path).unwrap()
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; `cargo verify` installs it"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Writes the disk twice, compares the files, and the content that qemu-img finds with the disk's.
fn check(format: &str, name: &str, write: impl Fn(&File, &mut BufWriter<File>)) {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("disk.raw");
    let disk = raw_disk(&raw);
    for file in [name, "again"] {
        let mut out = BufWriter::new(File::create_new(folder.path().join(file)).unwrap());
        write(&disk, &mut out);
        out.flush().unwrap();
    }
    let read = |file| fs::read(folder.path().join(file)).unwrap();
    assert!(read(name) == read("again"), "{format}: the same disk, other bytes");
    run("qemu-img", &["convert", "-f", format, "-O", "raw", name, "back.raw"], folder.path());
    assert!(read("back.raw") == read("disk.raw"), "{format}: another content");
    let info = run("qemu-img", &["info", "-f", format, "--output=json", name], folder.path());
    assert!(info.contains(&format!("\"virtual-size\": {LENGTH}")), "{info}");
}

#[test]
fn a_stream_optimized_vmdk_has_the_disk_s_content() {
    for adapter in [Adapter::Ide, Adapter::LsiLogic] {
        check("vmdk", "disk.vmdk", |disk, out| {
            let descriptor = Descriptor {
                file_name: "disk.vmdk",
                content: ContentId::new(7),
                uuid: "6f0e4a2c-0000-8000-8000-000000000001",
                adapter,
            };
            vmdk::write(disk, &descriptor, &Deflater::new(None), out).unwrap();
        });
    }
}

#[test]
fn a_vdi_has_the_disk_s_content() {
    check("vdi", "disk.vdi", |disk, out| {
        vdi::write(disk, Uuids { image: [1; 16], modification: [2; 16] }, out).unwrap();
    });
}

#[test]
fn a_fixed_vhd_has_the_disk_s_content() {
    check("vpc", "disk.vhd", |mut disk, out| {
        disk.seek(SeekFrom::Start(0)).unwrap();
        std::io::copy(&mut disk, out).unwrap();
        out.write_all(&vhd::footer(LENGTH, 1_700_000_000, [3; 16])).unwrap();
    });
}

#[test]
fn a_dynamic_vhdx_has_the_disk_s_content() {
    check("vhdx", "disk.vhdx", |disk, out| {
        let uuids = vhdx::Uuids { disk: [4; 16], file_write: [5; 16], data_write: [6; 16] };
        vhdx::write(disk, uuids, out).unwrap();
    });
}

/// Two chunks, between which the table has another entry. qemu-img reads zeros slowly: the second one is short.
#[test]
fn a_large_vhdx_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = File::create_new(folder.path().join("disk.raw")).unwrap();
    for mib in [1, 4095, 4096, 4098] {
        raw.seek(SeekFrom::Start(mib << 20)).unwrap();
        raw.write_all(&mib.to_be_bytes()).unwrap();
    }
    raw.set_len(4099 << 20).unwrap();
    let out = File::create_new(folder.path().join("disk.vhdx")).unwrap();
    let uuids = vhdx::Uuids { disk: [4; 16], file_write: [5; 16], data_write: [6; 16] };
    vhdx::write(&File::open(folder.path().join("disk.raw")).unwrap(), uuids, BufWriter::new(out)).unwrap();
    let checked = run("qemu-img", &["check", "-f", "vhdx", "disk.vhdx"], folder.path());
    assert!(checked.contains("No errors were found"), "{checked}");
    run("qemu-img", &["compare", "-f", "vhdx", "-F", "raw", "disk.vhdx", "disk.raw"], folder.path());
    // The first MiB, log, metadata, table, and the blocks.
    assert_eq!(folder.path().join("disk.vhdx").metadata().unwrap().len(), 8 << 20);
}

#[test]
fn gnu_tar_restores_a_sparse_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = raw_disk(&folder.path().join("expected"));
    let out = File::create_new(folder.path().join("disk.tar")).unwrap();
    write_sparse(&disk, "disk.raw", 0, out).unwrap();
    assert!(folder.path().join("disk.tar").metadata().unwrap().len() < 1 << 20, "holes are stored");
    run("tar", &["--extract", "--file", "disk.tar"], folder.path());
    let read = |file| fs::read(folder.path().join(file)).unwrap();
    assert!(read("disk.raw") == read("expected"));
}
