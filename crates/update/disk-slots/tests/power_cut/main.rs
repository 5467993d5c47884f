//! Cuts an update off between any two writes, and inside of them, and boots what is left.

// The lints for panicking calls know unit tests only; in here everything is a test.
#![allow(clippy::unwrap_used)]

mod disk;
mod firmware;

use std::io::Cursor;

use disk::{Content, DISK, Event, MIB, SimDisk, SimEsp};
use disk_slots::carry_out::carry_out;
use disk_slots::look::{look, partitions};
use disk_slots::{Esp, gpt as table};
use firmware::{Version, boot};
use release::{Blob, Digest, Image, Images, Payload, Release, SCHEMA, SEGMENTS, Verity};
use update_core::slots::{Machine, Step};

const BLOCKS: usize = 4;

/// A machine that runs `running` from slot a; slot b holds `other`.
struct World {
    disk: SimDisk,
    esp: SimEsp,
    running: Version,
}

impl World {
    fn new(running: &Version, running_file: &str, other: Option<(&Version, &str)>, crowd: usize) -> Self {
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
        // Of others, so that an image's name lies at any place of the folder's sectors.
        for number in 0..crowd {
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
        // What was is the disk that the events below happen to.
        let disk = SimDisk::new(disk.content());
        Self { esp: SimEsp { disk: disk.clone(), ..esp }, disk, running: running.clone() }
    }

    fn look(&self) -> Machine {
        look(&self.disk, &self.esp, "keelson", Digest(self.running.root_hash)).unwrap()
    }

    fn carry_out(&mut self, steps: &[Step], version: &Version) {
        let (disk, esp) = (self.disk.clone(), SimEsp { disk: self.disk.clone(), ..self.esp });
        carry_out(steps, &mut self.disk, &mut self.esp, |slot, temporary| {
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

/// Every disk that a cut can leave: after each write; inside of each; and with any of the writes since the last sync
/// missing, as a disk's own cache may lose them.
fn every_cut(before: &Content, events: &[Event], mut check: impl FnMut(Content, String)) -> usize {
    let mut seen = 0;
    let mut check = |content, what| {
        seen += 1;
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
                // Inside: at each sector's end, in the middle, and in the middle of the last sector.
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
    seen
}

/// What an update begins with, and goes to.
#[derive(Debug, Clone, Copy, Default)]
struct Case {
    to: &'static str,
    /// In slot b.
    other: Option<(&'static str, &'static str)>,
    /// The other one does not come up.
    broken: bool,
    /// The new one does not come up.
    new_broken: bool,
    /// A byte of the disk that is wrong.
    damaged: Option<usize>,
    crowd: usize,
}

/// An update from 2.0.0: each cut boots the old version or the new one, and the whole of it the new one.
fn update_holds(case: Case) {
    let Case { to, .. } = case;
    let old = Version::new("2.0.0", BLOCKS);
    let new = Version::new(to, BLOCKS);
    let mut other = case.other.map(|(number, file)| (Version::new(number, BLOCKS), file));
    if let Some((version, _)) = other.as_mut().filter(|_| case.broken) {
        version.usr[0] ^= 1;
    }
    let in_b = other.as_ref().map(|(version, file)| (version, *file));
    let mut world = World::new(&old, "keelson_2.0.0.efi", in_b, case.crowd);
    if let Some(at) = case.damaged {
        let mut bytes = world.disk.bytes();
        bytes[at] ^= 0xff;
        world.disk = SimDisk::new(bytes);
        world.esp.disk = world.disk.clone();
    }
    let before = world.disk.content();
    let steps = world.look().install(&release(&new)).unwrap();
    world.carry_out(&steps, &new);
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
        // Until its boot image is gone it is the one to fall back to.
        Ok(number) if !case.broken && versions[2..].iter().any(|version| version.number == number) => {}
        other => panic!("{case:?}, {what}: {other:?}"),
    });
    assert!(cuts > 100, "{cuts}");
    assert!(booted.get(old.number).is_some_and(|count| *count > 50), "{booted:?}");
    assert!(booted.contains_key(end), "{booted:?}");
}

#[test]
fn an_update_cut_anywhere_leaves_the_old_version_or_the_new_one() {
    for crowd in 0..16 {
        let case = Case { to: "3.0.0", crowd, ..Case::default() };
        update_holds(Case { other: Some(("2.5.0", "keelson_2.5.0+0-3.efi")), broken: true, ..case });
        update_holds(Case { new_broken: true, ..case });
    }
    let case = Case { to: "3.0.0", ..Case::default() };
    update_holds(case);
    update_holds(Case { other: Some(("1.0.0", "keelson_1.0.0.efi")), ..case });
}

#[test]
fn so_does_one_that_finds_a_damaged_partition_table() {
    for damaged in [512, 1024, 4 * MIB - 512, 4 * MIB - 1024 - 15 * 1024] {
        update_holds(Case { to: "3.0.0", damaged: Some(damaged), ..Case::default() });
    }
}

#[test]
fn so_does_an_older_version_that_was_asked_for() {
    for crowd in 0..16 {
        update_holds(Case { to: "1.5.0", crowd, ..Case::default() });
    }
    update_holds(Case { to: "1.5.0", other: Some(("1.0.0", "keelson_1.0.0.efi")), ..Case::default() });
}

#[test]
fn an_update_that_was_cut_off_is_done_again_from_there() {
    let [old, new] = [("2.0.0"), ("3.0.0")].map(|number| Version::new(number, BLOCKS));
    let mut world = World::new(&old, "keelson_2.0.0.efi", None, 0);
    let before = world.disk.content();
    let steps = world.look().install(&release(&new)).unwrap();
    world.carry_out(&steps, &new);
    let versions = [old.clone(), new.clone()];
    let mut at = 0;
    every_cut(&before, &world.disk.events(), |bytes, what| {
        at += 1;
        // Each takes an update; a part of them is enough.
        if at % 7 != 0 || boot(bytes.clone(), &versions).as_deref() != Ok("2.0.0") {
            return;
        }
        let disk = SimDisk::new(bytes);
        let mut world = World { esp: SimEsp { disk: disk.clone(), ..world.esp }, disk, running: old.clone() };
        let steps = world.look().install(&release(&new)).unwrap();
        world.carry_out(&steps, &new);
        assert_eq!(boot(world.disk.content(), &versions).as_deref(), Ok("3.0.0"), "{what}");
    });
}

#[test]
fn rolling_back_cut_anywhere_leaves_one_of_both() {
    let [old, new] = [("1.0.0"), ("2.0.0")].map(|number| Version::new(number, BLOCKS));
    let versions = [old.clone(), new.clone()];
    for ((running, running_file), (other, other_file)) in [
        ((&new, "keelson_2.0.0.efi"), (&old, "keelson_1.0.0.efi")),
        // An operator left the other one before.
        ((&new, "keelson_2.0.0.efi"), (&old, "keelson_1.0.0+0-0.efi")),
        ((&old, "keelson_1.0.0.efi"), (&new, "keelson_2.0.0+0-0.efi")),
    ] {
        let mut world = World::new(running, running_file, Some((other, other_file)), 0);
        let before = world.disk.content();
        assert_eq!(boot(before.clone(), &versions).as_deref(), Ok(running.number));
        let (version, steps) = world.look().roll_back().unwrap();
        assert_eq!(version.to_string(), other.number);
        world.carry_out(&steps, other);
        assert_eq!(boot(world.disk.content(), &versions).as_deref(), Ok(other.number));
        every_cut(&before, &world.disk.events(), |bytes, what| {
            // An image that is not armed has no root hash, and could never be rolled back to.
            let disk = SimDisk::new(bytes.clone());
            let esp = SimEsp { disk: disk.clone(), ..world.esp };
            let machine = look(&disk, &esp, "keelson", Digest(running.root_hash)).unwrap();
            assert!(machine.entries.iter().all(|entry| entry.root_hash.is_some()), "{what}: {machine:?}");
            boot(bytes, &versions).unwrap_or_else(|error| panic!("{what}: {error}"));
        });
    }
}

#[test]
fn a_damaged_copy_of_the_partition_table_is_made_whole_by_the_next_change() {
    let version = Version::new("2.0.0", BLOCKS);
    for place in [512, 1024, 4 * MIB - 512, 4 * MIB - 1024 - 15 * 1024] {
        let world = World::new(&version, "keelson_2.0.0.efi", None, 0);
        let mut bytes = world.disk.bytes();
        bytes[place] ^= 0xff;
        let mut disk = SimDisk::new(bytes);
        let read = table::read(&disk).unwrap();
        assert!(!read.is_sound(), "{place}");
        let [usr, verity] = partitions(&read, 'b').unwrap();
        let changes = [(usr.number, [1; 16]), (verity.number, [2; 16])];
        table::set_uuids(&mut disk, &read, &changes).unwrap();
        let again = table::read(&disk).unwrap();
        assert!(again.is_sound(), "{place}");
        assert_eq!(partitions(&again, 'b').unwrap().map(|part| part.uuid[0]), [1, 2]);
        // And a stranger reads the same.
        let stranger = gpt::GptConfig::new().open_from_device(Cursor::new(disk.bytes())).unwrap();
        let found = stranger.partitions().values().find(|part| part.name == "USR-B").unwrap();
        assert_eq!(found.part_guid.as_bytes(), &[1; 16]);
    }
}

#[test]
fn a_disk_without_a_table_or_with_two_is_refused() {
    let empty = SimDisk::new(vec![0; MIB]);
    assert!(matches!(table::read(&empty), Err(table::TableError::None)));
    assert!(matches!(table::read(&SimDisk::new(Vec::new())), Err(table::TableError::None)));
    let version = Version::new("2.0.0", BLOCKS);
    let [one, other] = [0, 1].map(|_| World::new(&version, "keelson_2.0.0.efi", None, 0).disk.bytes());
    let mixed = [&one[..2 * MIB], &other[2 * MIB..]].concat();
    assert!(matches!(table::read(&SimDisk::new(mixed)), Err(table::TableError::Different)));
}

#[test]
fn a_boot_image_says_what_it_wants_and_a_damaged_one_nothing() {
    let version = Version::new("2.0.0", BLOCKS);
    let root = |bytes: &[u8]| disk_slots::root_hash_of(Cursor::new(bytes.to_vec()));
    assert_eq!(root(&version.boot_image), Some(Digest(version.root_hash)));
    for length in 0..560 {
        assert_eq!(root(&version.boot_image[..length]), None, "{length}");
    }
    let world = World::new(&version, "keelson_2.0.0.efi", None, 0);
    assert_eq!(world.esp.list().unwrap().len(), 2, "{:?}", world.esp.list());
}
