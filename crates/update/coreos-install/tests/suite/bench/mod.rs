//! A folder that stands for the running system, with an image and a disk.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use disk_slots::DiskFile;
use disk_slots::gpt::{read, set_uuids, uuids};
use release::Digest;

pub const MIB: usize = 1 << 20;
pub const CONFIG: &str = "#cloud-config\nhostname: installed\n";

/// A folder with a system, an image and a disk.
pub struct Bench {
    folder: tempfile::TempDir,
    pub image: Vec<u8>,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap(), image: image() };
        bench.put("root/proc/self/mountinfo", "");
        bench.put("root/proc/cmdline", "quiet\n");
        fs::create_dir_all(bench.path("root/sys/block")).unwrap();
        bench.put(
            "root/usr/share/coreos/release",
            "COREOS_RELEASE_VERSION=3.2.1\nCOREOS_RELEASE_BOARD=amd64-usr\n",
        );
        bench.put("root/usr/lib/os-release", "NAME=\"Keelson\"\nID=keelson\nVERSION_ID=3.2.1\n");
        bench.put("root/etc/coreos/update.conf", "GROUP=beta\n");
        bench.put("config.yml", CONFIG);
        bench.empty_disk();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A disk of 20 MiB full of garbage.
    pub fn empty_disk(&self) {
        self.put("disk", vec![0x5a; 20 * MIB]);
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        // Another crate's tests use the folder without the program.
        Command::new(option_env!("CARGO_BIN_EXE_coreos-install").unwrap_or("coreos-install"))
            .arg("--root")
            .arg(self.path("root"))
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Returns stdout.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns stderr. The disk must be as it was.
    pub fn is_refused(&self, arguments: &[&str]) -> String {
        let before = fs::read(self.path("disk")).unwrap();
        let error = self.fails(arguments);
        assert!(fs::read(self.path("disk")).unwrap() == before, "the disk was changed: {error}");
        error
    }

    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Checks that the disk has the image, and this cloud-config.
    pub fn is_installed(&self, config: Option<&str>) {
        let disk = fs::read(self.path("disk")).unwrap();
        let table = read(&DiskFile::read_only(&self.path("disk")).unwrap()).unwrap();
        assert!(table.is_redundant());
        let parts: Vec<_> = table.partitions().iter().map(|part| &*part.label).collect();
        assert_eq!(parts, ["USR-A", "OEM", "USR-A-verity"]);
        assert!(disk[MIB..3 * MIB] == self.image[MIB..3 * MIB]);
        assert!(disk[disk.len() - 33 * 512..].windows(8).any(|bytes| bytes == b"EFI PART"));
        let device = format!("{}?offset={}", self.path("disk").display(), 3 * MIB);
        let read =
            Command::new("debugfs").args(["-R", "cat /coreos-install/user_data", &device]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), config.unwrap_or_default());
    }

    pub fn has_no_table(&self) {
        assert!(read(&DiskFile::read_only(&self.path("disk")).unwrap()).is_err());
    }
}

/// A disk of 16 MiB with partitions of data, and an ext4 one.
pub fn image() -> Vec<u8> {
    let config = gpt::GptConfig::new().writable(true).logical_block_size(gpt::disk::LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(Cursor::new(vec![0; 16 * MIB]), None).unwrap();
    for (label, bytes) in [("USR-A", 2 * MIB), ("OEM", 12 * MIB), ("USR-A-verity", MIB / 2)] {
        let aligned = Some((MIB / 512) as u64);
        table.add_partition(label, bytes as u64, gpt::partition_types::BASIC, 0, aligned).unwrap();
    }
    let mut bytes = table.write().unwrap().into_inner();
    for (at, byte) in bytes.iter_mut().enumerate().skip(MIB).take(MIB) {
        *byte = (at * 7 % 253) as u8;
    }
    let part = tempfile::NamedTempFile::new().unwrap();
    part.as_file().set_len(12 * MIB as u64).unwrap();
    let made = Command::new("mkfs.ext4").arg("-q").arg(part.path()).stderr(Stdio::null()).status();
    assert!(made.unwrap().success());
    bytes[3 * MIB..15 * MIB].copy_from_slice(&fs::read(part.path()).unwrap());
    with_root_hash(bytes, Digest([2; 32]))
}

/// Gives the partitions for `/usr` the UUIDs of this root hash.
pub fn with_root_hash(image: Vec<u8>, hash: Digest) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), image).unwrap();
    let mut disk = DiskFile::open(file.path()).unwrap();
    let (table, [usr, verity]) = (read(&disk).unwrap(), uuids(hash));
    set_uuids(&mut disk, &table, &[(1, usr), (3, verity)]).unwrap();
    fs::read(file.path()).unwrap()
}
