//! A machine simulated in a folder: a file as its disk, a folder as its boot partition, and releases for it. For
//! tests: errors panic.

#![expect(clippy::unwrap_used, reason = "a test kit")]

mod packed;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use disk_slots::{Disk, DiskFile, gpt as table};
use payload::verity::{Hasher, Parameters};
use release::{Digest, Verity, Version};
use release_folder::{
    BuiltRelease, FinishedImage, FinishedImages, ImageFiles, ReleaseInfo, ReleaseSpec, SigningKey,
    build_release,
};
use tempfile::TempDir;
use update_core::slots::BootState;
use update_engine::{Isolation, Paths, RetryPolicy, Updater};

const MIB: usize = 1 << 20;
/// Two full segments of 16 MiB and a short one.
const USR: usize = 34 * MIB;
const APPID: &str = "{6e7f4b0c-3c5e-4f0e-8f0b-2b0d6f1c9a54}";
const BUILT: u64 = 1_700_000_000;
/// Versions of the shared releases.
const OLD: &str = "2.0.0";
const NEW: &str = "3.0.0";

/// The images of a version.
pub struct Images {
    pub version: Version,
    pub usr: Vec<u8>,
    pub uki: Vec<u8>,
    pub verity: Verity,
    pub tree: Vec<u8>,
}

/// Keys and releases that tests share.
pub struct Releases {
    _folder: TempDir,
    pub keys: PathBuf,
    /// The version that machines run.
    pub old: Images,
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
    let [old, new] = [OLD, NEW].map(Images::new);
    let at = |name: &str| folder.path().join(name);
    let [with_delta, full_only] = [at(packed::WITH_DELTA), at(packed::FULL_ONLY)].map(packed::read);
    let keys = at(packed::KEYS);
    let releases = Arc::new(Releases { keys, old, new, with_delta, full_only, _folder: folder });
    *shared = Arc::downgrade(&releases);
    releases
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Builds a release, which the list in `keys` has afterwards.
pub fn release(images: &Images, keys: &Path, older: &[PathBuf], to: &Path) -> BuiltRelease {
    let files = tempfile::tempdir().unwrap();
    let [usr, uki] = ["usr", "uki"].map(|name| files.path().join(name));
    fs::write(&usr, &images.usr).unwrap();
    fs::write(&uki, &images.uki).unwrap();
    let info = ReleaseInfo {
        appid: APPID.into(),
        board: "amd64-usr".into(),
        channels: vec!["alpha".into()],
        version: images.version.clone(),
        epoch: 1,
        build_time: BUILT,
        expires: BUILT * 2,
        min_from: None,
        notes_url: None,
    };
    let secret = SigningKey::read(&keys.join("release.key")).unwrap();
    let images = ImageFiles { usr: &usr, uki: &uki, verity: images.verity.clone() };
    // Machines ignore it.
    let image = files.path().join(format!("keelson-{}-alpha.raw.zst", info.version));
    fs::write(&image, "an image").unwrap();
    let sha256 = Digest::of(b"an image").to_string();
    let image = FinishedImage { path: image, format: "raw.zst".into(), sha256, virtual_size: 4096 };
    let image_files = [FinishedImages {
        record: files.path().join("record"),
        version: info.version.to_string(),
        channel: "alpha".into(),
        root_hash: images.verity.root_hash.to_string(),
        files: vec![image],
    }];
    let spec = ReleaseSpec {
        images,
        info,
        signer: secret.signer(),
        older,
        image_files: &image_files,
        keys,
        level: 3,
    };
    build_release(&spec, to, &mut |_, _| ()).unwrap()
}

impl Images {
    pub fn new(version: &str) -> Self {
        let version: Version = version.parse().unwrap();
        // Differs between versions in some blocks only, and compresses quickly.
        let mut usr = vec![0; USR];
        for (number, block) in usr.chunks_mut(4096).enumerate() {
            let text = format!("block {number} {}", number.wrapping_mul(2_654_435_761));
            block[..text.len()].copy_from_slice(text.as_bytes());
            if number % 500 == 0 {
                let text = format!("{version} {number}");
                block[2048..2048 + text.len()].copy_from_slice(text.as_bytes());
            }
        }
        let salt = Digest([9; 32]);
        let uuid = "00112233-4455-8677-8899-aabbccddeeff";
        let mut verity = Verity { root_hash: Digest([0; 32]), salt, uuid: uuid.into() };
        let mut hasher = Hasher::new(&Parameters::of(&verity).unwrap(), USR as u64).unwrap();
        hasher.update(&usr);
        let tree = hasher.finish().unwrap();
        verity.root_hash = tree.root;
        let uki = boot_image(&version, tree.root);
        Self { uki, verity, tree: tree.parts().flatten().copied().collect(), usr, version }
    }
}

/// A minimal PE file with one section.
fn boot_image(version: &Version, root_hash: Digest) -> Vec<u8> {
    let line = format!("quiet usrhash={root_hash}");
    let mut file = vec![0; 64];
    file[..2].copy_from_slice(b"MZ");
    file[60] = 64;
    file.extend(b"PE\0\0");
    for field in [0x8664_u16, 1, 0, 0, 0, 0, 0, 0, 240, 0x22] {
        file.extend(field.to_le_bytes());
    }
    let mut optional = vec![0; 240];
    optional[..2].copy_from_slice(&0x20b_u16.to_le_bytes());
    optional[32..36].copy_from_slice(&4096_u32.to_le_bytes());
    optional[36..40].copy_from_slice(&512_u32.to_le_bytes());
    optional[108] = 16;
    file.extend(optional);
    file.extend(b".cmdline");
    let length = u32::try_from(line.len()).unwrap();
    for field in [length, 0x1000, length, 512, 0, 0, 0, 0x4000_0040] {
        file.extend(field.to_le_bytes());
    }
    file.resize(512, 0);
    file.extend(line.as_bytes());
    file.extend(format!(" version {version} ").repeat(1000).into_bytes());
    file
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

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// Adds a root, the content of `root.json`, to the image.
    pub fn set_image_root(&self, root: &[u8]) {
        fs::write(self.path("usr/share/keelson/keys/root.json"), root).unwrap();
    }

    pub fn updater(&self) -> Updater {
        let (pause, limit) = (Duration::from_millis(10), Duration::from_secs(3600));
        let retry = RetryPolicy { attempts: 3, pause, limit };
        Updater::new(&Paths::new(self.root.path()), retry, Isolation::InProcess).unwrap()
    }

    pub fn settings(&self, text: &str) -> update_engine::Settings {
        fs::write(self.path("etc/coreos/update.conf"), text).unwrap();
        update_engine::Settings::read(&Paths::new(self.root.path()))
    }

    pub fn slots(&self) -> BootState {
        self.updater().inspect().unwrap()
    }

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
