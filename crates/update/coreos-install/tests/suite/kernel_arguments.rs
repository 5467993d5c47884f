//! Kernel arguments of an installed system, on its boot partition.

use std::fs;
use std::io::{Cursor, Read};

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};

use crate::bench::{Bench, CONFIG, MIB};

const ESP: std::ops::Range<usize> = MIB..13 * MIB;

/// A disk whose only partition is for boot images.
fn image() -> Vec<u8> {
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(Cursor::new(vec![0; 16 * MIB]), None).unwrap();
    let (bytes, aligned) = (ESP.len() as u64, Some((MIB / 512) as u64));
    table.add_partition("EFI-SYSTEM", bytes, gpt::partition_types::EFI, 0, aligned).unwrap();
    let mut image = table.write().unwrap().into_inner();
    let mut part = Cursor::new(vec![0; ESP.len()]);
    fatfs::format_volume(&mut part, FormatVolumeOptions::new()).unwrap();
    image[ESP].copy_from_slice(part.get_ref());
    image
}

#[test]
fn arguments_are_an_addon_of_the_boot_partition() {
    let bench = Bench::new();
    bench.put("system.raw", image());
    let arguments = ["-d", "disk", "-f", "system.raw", "--insecure", "--karg", "console=ttyS1,115200"];
    let printed = bench.succeeds(&[&arguments[..], &["--append-karg", "-x=--y"]].concat());
    assert!(printed.contains("\nAdding kernel arguments...\nSuccess! "), "{printed}");
    let disk = fs::read(bench.path("disk")).unwrap();
    let system = FileSystem::new(Cursor::new(disk[ESP].to_vec()), FsOptions::new()).unwrap();
    let mut addon = Vec::new();
    let folder = system.root_dir().open_dir("loader/addons").unwrap();
    let names: Vec<_> = folder.iter().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [".", "..", "coreos-install.addon.efi"]);
    folder.open_file("coreos-install.addon.efi").unwrap().read_to_end(&mut addon).unwrap();
    let program = PeFile64::parse(&*addon).unwrap();
    let line = b"console=ttyS1,115200 -x=--y";
    let section = program.section_by_name(".cmdline").unwrap();
    assert_eq!(&section.data().unwrap()[..usize::try_from(section.size()).unwrap()], line);
}

#[test]
fn what_cannot_be_an_argument_is_refused_before_the_first_write() {
    let bench = Bench::new();
    bench.put("system.raw", image());
    for (argument, expected) in [
        ("a b", "invalid kernel argument \"a b\""),
        ("usrhash=00", "the kernel argument usrhash=00 is the boot image's"),
    ] {
        let error = bench.is_refused(&["-d", "disk", "-f", "system.raw", "--insecure", "--karg", argument]);
        assert!(error.contains(expected), "{error}");
    }
    // Neither image has partitions for everything.
    bench.put("config.yml", CONFIG);
    let error = bench.is_refused(&["-d", "disk", "-f", "system.raw", "--insecure", "-c", "config.yml"]);
    assert!(error.contains("the image has no partition OEM"), "{error}");
    bench.put("other.raw", &bench.image);
    let error = bench.is_refused(&["-d", "disk", "-f", "other.raw", "--insecure", "--karg", "quiet"]);
    assert!(error.contains("the image has no partition EFI-SYSTEM for kernel arguments"), "{error}");
}
