//! Cuts the power between and within the writes of an update, and boots the result.

// clippy recognizes unit tests only.
#![allow(clippy::unwrap_used)]

mod disk;
mod firmware;

use std::io::Cursor;

use disk::{Content, DISK, Event, MIB, SimDisk, SimEsp};
use disk_slots::execute::execute;
use disk_slots::inspect::{inspect, partitions};
use disk_slots::{Esp, gpt as table};
use firmware::{Version, boot};
use release::{Blob, Digest, Image, Images, Payload, Release, SCHEMA, SEGMENTS, Verity};
use update_core::slots::{BootState, Step};

const BLOCKS: usize = 4;

/// A machine that runs `running` from slot a. Slot b contains `other`.
struct TestMachine {
    disk: SimDisk,
    esp: SimEsp,
    running: Version,
}

impl TestMachine {
    fn new(
        running: &Version,
        running_file: &str,
        other: Option<(&Version, &str)>,
        other_files: usize,
    ) -> Self {
        let device = Cursor::new(vec![0_u8; DISK]);
        let mut table = gpt::GptConfig::new()
            .writable(true)
            .logical_block_size(gpt::disk::LogicalBlockSize::Lb512)
            .create_from_device(device, None)
            .unwrap();
        let parts = [
            ("EFI-SYSTEM", 5 * MIB / 2),
            ("USR-A", MIB / 4),
            ("USR-A-verity", 4096),
            ("USR-B", MIB / 4),
            ("USR-B-verity", 4096),
        ];
        for (label, bytes) in parts {
            table.add_partition(label, bytes as u64, gpt::partition_types::BASIC, 0, None).unwrap();
        }
        let bytes = table.write().unwrap().into_inner();
        let disk = SimDisk::new(bytes);
        let read = table::read(&disk).unwrap();
        let part = |label: &str| {
            let part = read.partitions().iter().find(|part| part.label == label).unwrap();
            usize::try_from(part.offset).unwrap()
        };
        let esp = SimEsp { disk: disk.clone(), start: part("EFI-SYSTEM"), length: 5 * MIB / 2 };
        esp.format();
        // Other files, to vary the position of the image's directory entry within sectors.
        for number in 0..other_files {
            esp.write(&format!("O{number}.TXT"), b"");
        }
        let mut changes = Vec::new();
        for (slot, version, file) in
            [('a', Some(running), running_file)].into_iter().chain(other.map(|(v, f)| ('b', Some(v), f)))
        {
            let Some(version) = version else { continue };
            let [usr, verity] = partitions(&read, slot).unwrap();
            disk.put(usize::try_from(usr.offset).unwrap(), &version.usr);
            disk.put(usize::try_from(verity.offset).unwrap(), &version.verity);
            let uuids = table::uuids(Digest(version.root_hash));
            changes.extend([usr.number, verity.number].into_iter().zip(uuids));
            esp.write(file, &version.boot_image);
        }
        table::set_uuids(&mut disk.clone(), &read, &changes).unwrap();
        // The recorded events start from here.
        let disk = SimDisk::new(disk.content());
        Self { esp: SimEsp { disk: disk.clone(), ..esp }, disk, running: running.clone() }
    }

    fn inspect(&self) -> BootState {
        inspect(&self.disk, &self.esp, "keelson", Digest(self.running.root_hash)).unwrap()
    }

    fn execute(&mut self, steps: &[Step], version: &Version) {
        let (disk, esp) = (self.disk.clone(), SimEsp { disk: self.disk.clone(), ..self.esp });
        execute(steps, &mut self.disk, &mut self.esp, |slot, temporary| {
            let read = table::read(&disk).unwrap();
            let parts = partitions(&read, slot).unwrap();
            for (part, content) in parts.into_iter().zip([&version.usr, &version.verity]) {
                for (at, block) in content.chunks(4096).enumerate() {
                    disk.put(usize::try_from(part.offset).unwrap() + at * 4096, block);
                }
            }
            disk.flush();
            esp.write(temporary, &version.boot_image);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap();
    }
}

fn release(version: &Version) -> Release {
    let blob = |name: &str| Blob { url: name.parse().unwrap(), size: 1, sha256: Digest([0; 32]) };
    let image = |bytes: &[u8]| Image { size: bytes.len() as u64, sha256: Digest([0; 32]) };
    Release {
        schema: SCHEMA,
        appid: "{x}".into(),
        board: "b".into(),
        channels: vec!["alpha".into()],
        version: version.number.parse().unwrap(),
        epoch: 0,
        build_time: 0,
        expires: 1,
        min_from: None,
        images: Images {
            usr: image(&version.usr),
            verity: Verity {
                root_hash: Digest(version.root_hash),
                salt: Digest([0; 32]),
                uuid: String::new(),
            },
            uki: image(&version.boot_image),
        },
        full: Payload { blob: blob("a"), index: blob("b"), algo: SEGMENTS.into() },
        deltas: Vec::new(),
        notes_url: None,
    }
}

/// Calls `check` with every disk that a power cut can leave: after each write, within each one, and with any one of
/// the writes since the last sync missing, as a disk cache may lose it.
fn every_cut(before: &Content, events: &[Event], mut check: impl FnMut(Content, String)) -> usize {
    let mut count = 0;
    let mut check = |content, what| {
        count += 1;
        check(content, what);
    };
    let mut synced = before.clone();
    let mut window: Vec<(usize, &[u8])> = Vec::new();
    check(before.clone(), "before".into());
    for (at, event) in events.iter().enumerate() {
        match event {
            Event::Sync => {
                for (offset, content) in window.drain(..) {
                    synced.write(offset, content);
                }
                check(synced.clone(), format!("sync {at}"));
            }
            Event::Write { offset, bytes } => {
                let mut prefix = synced.clone();
                for (offset, content) in &window {
                    prefix.write(*offset, content);
                }
                // Torn writes: after each sector, in the middle, and within the last sector.
                for length in (1..=bytes.len()).filter(|length| {
                    length % 512 == 0 || length * 2 == bytes.len() || *length + 100 == bytes.len()
                }) {
                    let mut torn = prefix.clone();
                    torn.write(*offset, &bytes[..length]);
                    check(torn, format!("write {at} at {offset}, {length} of {} bytes", bytes.len()));
                }
                window.push((*offset, bytes));
                prefix.write(*offset, bytes);
                check(prefix, format!("write {at} at {offset}"));
                for missing in 0..window.len() {
                    let mut lossy = synced.clone();
                    for (number, (offset, content)) in window.iter().enumerate() {
                        if number != missing {
                            lossy.write(*offset, content);
                        }
                    }
                    check(lossy, format!("write {at} at {offset}, without {missing} of its window"));
                }
            }
        }
    }
    count
}

/// Start and target of an update.
#[derive(Debug, Clone, Copy, Default)]
struct Case {
    to: &'static str,
    /// In slot b.
    other: Option<(&'static str, &'static str)>,
    /// The other version does not boot.
    broken: bool,
    /// The new version does not boot.
    new_broken: bool,
    /// Offset of a damaged byte on the disk.
    damaged: Option<usize>,
    other_files: usize,
}

/// An update from 2.0.0: each cut boots the old or the new version, the complete update the new one.
fn check_update(case: Case) {
    let Case { to, .. } = case;
    let old = Version::new("2.0.0", BLOCKS);
    let new = Version::new(to, BLOCKS);
    let mut other = case.other.map(|(number, file)| (Version::new(number, BLOCKS), file));
    if let Some((version, _)) = other.as_mut().filter(|_| case.broken) {
        version.usr[0] ^= 1;
    }
    let in_b = other.as_ref().map(|(version, file)| (version, *file));
    let mut world = TestMachine::new(&old, "keelson_2.0.0.efi", in_b, case.other_files);
    if let Some(at) = case.damaged {
        let mut bytes = world.disk.bytes();
        bytes[at] ^= 0xff;
        world.disk = SimDisk::new(bytes);
        world.esp.disk = world.disk.clone();
    }
    let before = world.disk.content();
    let steps = world.inspect().plan_install(&release(&new)).unwrap();
    world.execute(&steps, &new);
    let mut versions = vec![old.clone(), new.clone()];
    if let Some((mut version, _)) = other {
        version.usr[0] ^= u8::from(case.broken);
        versions.push(version);
    }
    versions[1].usr[0] ^= u8::from(case.new_broken);
    let end = if case.new_broken { old.number } else { to };
    assert_eq!(boot(world.disk.content(), &versions).as_deref(), Ok(end));
    let mut booted = std::collections::BTreeMap::<_, usize>::new();
    let cuts = every_cut(&before, &world.disk.events(), |bytes, what| match boot(bytes, &versions) {
        Ok(number) if number == end || number == old.number => *booted.entry(number).or_default() += 1,
        // The other version is the fallback until its boot image is removed.
        Ok(number) if !case.broken && versions[2..].iter().any(|version| version.number == number) => {}
        other => panic!("{case:?}, {what}: {other:?}"),
    });
    assert!(cuts > 100, "{cuts}");
    assert!(booted.get(old.number).is_some_and(|count| *count > 50), "{booted:?}");
    assert!(booted.contains_key(end), "{booted:?}");
}

#[test]
fn an_update_cut_anywhere_boots_the_old_or_the_new_version() {
    for other_files in 0..16 {
        let case = Case { to: "3.0.0", other_files, ..Case::default() };
        check_update(Case { other: Some(("2.5.0", "keelson_2.5.0+0-3.efi")), broken: true, ..case });
        check_update(Case { new_broken: true, ..case });
    }
    let case = Case { to: "3.0.0", ..Case::default() };
    check_update(case);
    check_update(Case { other: Some(("1.0.0", "keelson_1.0.0.efi")), ..case });
}

#[test]
fn an_update_with_a_damaged_partition_table_cut_anywhere_boots() {
    for damaged in [512, 1024, 4 * MIB - 512, 4 * MIB - 1024 - 15 * 1024] {
        check_update(Case { to: "3.0.0", damaged: Some(damaged), ..Case::default() });
    }
}

#[test]
fn a_downgrade_cut_anywhere_boots() {
    for other_files in 0..16 {
        check_update(Case { to: "1.5.0", other_files, ..Case::default() });
    }
    check_update(Case { to: "1.5.0", other: Some(("1.0.0", "keelson_1.0.0.efi")), ..Case::default() });
}

#[test]
fn an_interrupted_update_can_be_repeated() {
    let [old, new] = [("2.0.0"), ("3.0.0")].map(|number| Version::new(number, BLOCKS));
    let mut world = TestMachine::new(&old, "keelson_2.0.0.efi", None, 0);
    let before = world.disk.content();
    let steps = world.inspect().plan_install(&release(&new)).unwrap();
    world.execute(&steps, &new);
    let versions = [old.clone(), new.clone()];
    let mut at = 0;
    every_cut(&before, &world.disk.events(), |bytes, what| {
        at += 1;
        // Each iteration executes an update; a sample suffices.
        if at % 7 != 0 || boot(bytes.clone(), &versions).as_deref() != Ok("2.0.0") {
            return;
        }
        let disk = SimDisk::new(bytes);
        let mut world =
            TestMachine { esp: SimEsp { disk: disk.clone(), ..world.esp }, disk, running: old.clone() };
        let steps = world.inspect().plan_install(&release(&new)).unwrap();
        world.execute(&steps, &new);
        assert_eq!(boot(world.disk.content(), &versions).as_deref(), Ok("3.0.0"), "{what}");
    });
}

#[test]
fn a_rollback_cut_anywhere_boots_either_version() {
    let [old, new] = [("1.0.0"), ("2.0.0")].map(|number| Version::new(number, BLOCKS));
    let versions = [old.clone(), new.clone()];
    for ((running, running_file), (other, other_file)) in [
        ((&new, "keelson_2.0.0.efi"), (&old, "keelson_1.0.0.efi")),
        // An operator rolled back from the other version before.
        ((&new, "keelson_2.0.0.efi"), (&old, "keelson_1.0.0+0-0.efi")),
        ((&old, "keelson_1.0.0.efi"), (&new, "keelson_2.0.0+0-0.efi")),
    ] {
        let mut world = TestMachine::new(running, running_file, Some((other, other_file)), 0);
        let before = world.disk.content();
        assert_eq!(boot(before.clone(), &versions).as_deref(), Ok(running.number));
        let (version, steps) = world.inspect().plan_rollback().unwrap();
        assert_eq!(version.to_string(), other.number);
        world.execute(&steps, other);
        assert_eq!(boot(world.disk.content(), &versions).as_deref(), Ok(other.number));
        every_cut(&before, &world.disk.events(), |bytes, what| {
            // A disarmed image has no root hash, so a rollback to it would be impossible.
            let disk = SimDisk::new(bytes.clone());
            let esp = SimEsp { disk: disk.clone(), ..world.esp };
            let machine = inspect(&disk, &esp, "keelson", Digest(running.root_hash)).unwrap();
            assert!(machine.entries.iter().all(|entry| entry.root_hash.is_some()), "{what}: {machine:?}");
            boot(bytes, &versions).unwrap_or_else(|error| panic!("{what}: {error}"));
        });
    }
}

#[test]
fn a_damaged_copy_of_the_partition_table_is_repaired_by_the_next_change() {
    let version = Version::new("2.0.0", BLOCKS);
    for place in [512, 1024, 4 * MIB - 512, 4 * MIB - 1024 - 15 * 1024] {
        let world = TestMachine::new(&version, "keelson_2.0.0.efi", None, 0);
        let mut bytes = world.disk.bytes();
        bytes[place] ^= 0xff;
        let mut disk = SimDisk::new(bytes);
        let read = table::read(&disk).unwrap();
        assert!(!read.is_redundant(), "{place}");
        let [usr, verity] = partitions(&read, 'b').unwrap();
        let changes = [(usr.number, [1; 16]), (verity.number, [2; 16])];
        table::set_uuids(&mut disk, &read, &changes).unwrap();
        let repaired = table::read(&disk).unwrap();
        assert!(repaired.is_redundant(), "{place}");
        assert_eq!(partitions(&repaired, 'b').unwrap().map(|part| part.uuid[0]), [1, 2]);
        // Another implementation reads the same.
        let other_reader = gpt::GptConfig::new().open_from_device(Cursor::new(disk.bytes())).unwrap();
        let found = other_reader.partitions().values().find(|part| part.name == "USR-B").unwrap();
        assert_eq!(found.part_guid.as_bytes(), &[1; 16]);
    }
}

#[test]
fn a_disk_without_a_table_or_with_mismatched_ones_is_rejected() {
    let empty = SimDisk::new(vec![0; MIB]);
    assert!(matches!(table::read(&empty), Err(table::TableError::None)));
    assert!(matches!(table::read(&SimDisk::new(Vec::new())), Err(table::TableError::None)));
    let version = Version::new("2.0.0", BLOCKS);
    let [one, other] = [0, 1].map(|_| TestMachine::new(&version, "keelson_2.0.0.efi", None, 0).disk.bytes());
    let mixed = [&one[..2 * MIB], &other[2 * MIB..]].concat();
    assert!(matches!(table::read(&SimDisk::new(mixed)), Err(table::TableError::Mismatch)));
}

#[test]
fn the_root_hash_of_a_boot_image_is_read_unless_damaged() {
    let version = Version::new("2.0.0", BLOCKS);
    let root = |bytes: &[u8]| disk_slots::root_hash_of(Cursor::new(bytes.to_vec()));
    assert_eq!(root(&version.boot_image), Some(Digest(version.root_hash)));
    for length in 0..560 {
        assert_eq!(root(&version.boot_image[..length]), None, "{length}");
    }
    let world = TestMachine::new(&version, "keelson_2.0.0.efi", None, 0);
    assert_eq!(world.esp.list().unwrap().len(), 2, "{:?}", world.esp.list());
}
