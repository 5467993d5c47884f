//! A machine simulated in a folder: a file as its disk, a folder as its boot partition, and releases for it. For
//! tests: errors panic.

#![warn(missing_docs)]
#![expect(clippy::unwrap_used, reason = "a test kit")]

mod build;
mod images;
mod packed;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use disk_slots::{Disk, DiskFile, gpt as table};
use release_folder::BuiltRelease;
use tempfile::TempDir;
use update_core::slots::BootState;
use update_engine::{Isolation, Paths, RetryPolicy, Updater};

use build::{APPID, BUILT};
pub use build::{copy, release};
pub use images::Images;

const MIB: usize = 1 << 20;

/// Keys and releases that tests share.
pub struct Releases {
    _folder: TempDir,
    /// The folder of private keys.
    pub keys: PathBuf,
    /// The version that machines run.
    pub old: Images,
    /// The version that machines are offered.
    pub new: Images,
    /// Release of `new`, with a delta from `old`.
    pub with_delta: BuiltRelease,
    /// Release of `new`, without a delta.
    pub full_only: BuiltRelease,
}

/// Shared while in use: statics are never dropped, so their folder would never be removed.
pub fn releases() -> Arc<Releases> {
    static SHARED: Mutex<Weak<Releases>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(releases) = shared.upgrade() {
        return releases;
    }
    let folder = tempfile::tempdir().unwrap();
    copy(&packed::folder(), folder.path());
    let [old, new] = [packed::OLD, packed::NEW].map(Images::new);
    let at = |name: &str| folder.path().join(name);
    let [with_delta, full_only] = [at(packed::WITH_DELTA), at(packed::FULL_ONLY)].map(packed::read);
    let keys = at(packed::KEYS);
    let releases = Arc::new(Releases { keys, old, new, with_delta, full_only, _folder: folder });
    *shared = Arc::downgrade(&releases);
    releases
}

/// Runs `old` from slot a.
pub struct Machine {
    root: TempDir,
    releases: Arc<Releases>,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// Slot a has `old`, slot b nothing.
    pub fn new() -> Self {
        let releases = releases();
        let Releases { old, keys, .. } = &*releases;
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        put("proc/cmdline", format!("quiet usrhash={}\n", old.verity.root_hash).as_bytes());
        put("proc/sys/kernel/random/boot_id", b"cc9b6b2e-0000-4000-8000-000000000000\n");
        put("sys/block/dm-0/dm/name", b"usr\n");
        put("sys/block/dm-0/slaves/vda2/x", b"");
        put("sys/block/vda/vda2/partition", b"2\n");
        put("etc/machine-id", format!("{}\n", "b2f1".repeat(8)).as_bytes());
        put("usr/lib/os-release", b"ID=keelson\n");
        File::options()
            .write(true)
            .open(root.path().join("usr/lib/os-release"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + Duration::from_secs(BUILT))
            .unwrap();
        let release = format!(
            "COREOS_RELEASE_VERSION={}\nCOREOS_RELEASE_BOARD=amd64-usr\nCOREOS_RELEASE_APPID={APPID}\n",
            old.version
        );
        put("usr/share/coreos/release", release.as_bytes());
        put("usr/share/coreos/update.conf", b"SERVER=\n");
        put("etc/coreos/update.conf", b"GROUP=alpha\n");
        put("usr/share/keelson/keys/root.json", &fs::read(keys.join("1.root.json")).unwrap());
        put(&format!("boot/EFI/Linux/keelson_{}.efi", old.version), &old.uki);
        let machine = Self { root, releases: releases.clone() };
        machine.make_disk(old);
        machine
    }

    fn make_disk(&self, old: &Images) {
        let path = self.path("dev/vda");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(90 * MIB as u64).unwrap();
        let mut partitions = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
            .create_from_device(file, None)
            .unwrap();
        let sizes = [
            ("EFI-SYSTEM", MIB),
            ("USR-A", 36 * MIB),
            ("USR-A-verity", MIB),
            ("USR-B", 36 * MIB),
            ("USR-B-verity", MIB),
        ];
        for (label, bytes) in sizes {
            partitions.add_partition(label, bytes as u64, gpt::partition_types::BASIC, 0, None).unwrap();
        }
        partitions.write().unwrap();
        let mut disk = DiskFile::open(&path).unwrap();
        let read = table::read(&disk).unwrap();
        let [usr, verity] = disk_slots::inspect::partitions(&read, 'a').unwrap();
        disk.write_at(&old.usr, usr.offset).unwrap();
        disk.write_at(&old.tree, verity.offset).unwrap();
        let changes: Vec<_> =
            [usr.number, verity.number].into_iter().zip(table::uuids(old.verity.root_hash)).collect();
        table::set_uuids(&mut disk, &read, &changes).unwrap();
    }

    /// Of a file of the machine, without the leading slash.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Adds a root, the content of `root.json`, to the image.
    pub fn set_image_root(&self, root: &[u8]) {
        fs::write(self.path("usr/share/keelson/keys/root.json"), root).unwrap();
    }

    /// Works in this process.
    pub fn updater(&self) -> Updater {
        let (pause, limit) = (Duration::from_millis(10), Duration::from_secs(3600));
        let retry = RetryPolicy { attempts: 3, pause, limit };
        Updater::new(&Paths::new(self.root.path()), retry, Isolation::InProcess).unwrap()
    }

    /// As of an `update.conf` with this text.
    pub fn settings(&self, text: &str) -> update_engine::Settings {
        fs::write(self.path("etc/coreos/update.conf"), text).unwrap();
        update_engine::Settings::read(&Paths::new(self.root.path()))
    }

    /// As found now.
    pub fn slots(&self) -> BootState {
        self.updater().inspect().unwrap()
    }

    /// The folder that stands for `/`.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Sets the tries in the name of the boot image of `version`, for example after failed boots.
    pub fn set_tries(&self, version: &str, tries: &str) {
        let folder = self.path("boot/EFI/Linux");
        let name = format!("keelson_{version}");
        fs::rename(folder.join(format!("{name}+3-0.efi")), folder.join(format!("{name}{tries}.efi")))
            .unwrap();
        fs::remove_file(self.path("run/update_engine_autoupdate_completed")).unwrap();
    }

    /// The boot image that the loader selects.
    pub fn next_boot(&self) -> String {
        self.slots().boot_order().first().unwrap().name.to_string()
    }

    /// Asserts that the running version and all other bootable ones are complete.
    #[track_caller]
    pub fn assert_bootable(&self) {
        let Releases { old, new, .. } = &*self.releases;
        let slots = self.slots();
        let disk = DiskFile::read_only(&self.path("dev/vda")).unwrap();
        let read = table::read(&disk).unwrap();
        let mut runs = false;
        for entry in &slots.entries {
            let Some(root_hash) = entry.root_hash else { continue };
            let images = [old, new].into_iter().find(|images| images.verity.root_hash == root_hash).unwrap();
            runs |= root_hash == old.verity.root_hash;
            let slot = slots.slots.iter().find(|slot| slot.root_hash == root_hash).unwrap();
            let [usr, verity] = disk_slots::inspect::partitions(&read, slot.name).unwrap();
            for (part, wanted) in [(usr, &images.usr), (verity, &images.tree)] {
                let mut bytes = vec![0; wanted.len()];
                disk.read_at(&mut bytes, part.offset).unwrap();
                assert!(bytes == *wanted, "{}: {}", entry.name, part.label);
            }
            let image = fs::read(self.path("boot/EFI/Linux").join(entry.name.to_string())).unwrap();
            assert!(image == images.uki, "{}", entry.name);
        }
        assert!(runs, "{slots:?}");
    }

    /// Damages the image that a delta is based on.
    pub fn damage_running(&self) {
        let disk = DiskFile::read_only(&self.path("dev/vda")).unwrap();
        let read = table::read(&disk).unwrap();
        let [usr, _] = disk_slots::inspect::partitions(&read, 'a').unwrap();
        let file = File::options().write(true).open(self.path("dev/vda")).unwrap();
        file.write_all_at(&[0xff], usr.offset + 20 * MIB as u64).unwrap();
    }
}
