//! Firmware, boot loader and initrd, as far as they select what boots. Implemented from their specifications,
//! independently of the tested code.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::disk::{Content, DISK, Part, SimDisk, SimEsp};

/// A bootable version: a complete boot image and its slot.
#[derive(Debug, Clone)]
pub struct Version {
    pub number: &'static str,
    pub boot_image: Vec<u8>,
    pub usr: Vec<u8>,
    pub verity: Vec<u8>,
    pub root_hash: [u8; 32],
}

impl Version {
    /// `usr` has content that is unique to this version.
    pub fn new(number: &'static str, blocks: usize) -> Self {
        let usr: Vec<u8> =
            (0..blocks).flat_map(|block| format!("{number} {block:04}").repeat(512).into_bytes()).collect();
        let root_hash: [u8; 32] = Sha256::digest(&usr).into();
        let verity = [b"tree of ".as_slice(), &root_hash].concat().repeat(12);
        let boot_image = boot_image(number, &root_hash);
        Self { number, boot_image, usr, verity, root_hash }
    }
}

/// A minimal PE file with one section.
fn boot_image(number: &str, root_hash: &[u8]) -> Vec<u8> {
    let digits: String = root_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("quiet usrhash={digits} version={number}");
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
    // Long enough to be written in several parts.
    file.resize(6 * 512, 7);
    file
}

/// Left and done; `None` without a valid counter.
type Tries = Option<(u32, u32)>;

/// Parses names as the loader: any `.efi` file, in any case.
fn parse(file: &str) -> Option<Tries> {
    let stem = file.to_ascii_lowercase().strip_suffix(".efi")?.to_owned();
    let counter = || {
        let (_, tries) = stem.split_once('+')?;
        let (left, done) = tries.split_once('-').unwrap_or((tries, "0"));
        Some((left.parse().ok()?, done.parse().ok()?))
    };
    Some(counter())
}

/// The version in a boot image. The loader ignores files other than PE.
fn version_of(content: &[u8]) -> Option<Vec<u32>> {
    let text = String::from_utf8_lossy(content.strip_prefix(b"MZ")?).into_owned();
    let (_, version) = text.split_once("version=")?;
    let digits = version.split(|letter: char| letter != '.' && !letter.is_ascii_digit()).next()?;
    digits.split('.').map(|part| part.parse().ok()).collect()
}

/// Boots until a version stays up, and returns it. An error means that the machine needs manual repair.
pub fn boot(content: Content, versions: &[Version]) -> Result<&'static str, String> {
    let parts = partitions(&content)?;
    let (start, length) = *parts.get("EFI-SYSTEM").ok_or("no boot partition")?;
    let esp = SimEsp { disk: SimDisk::new(content.clone()), start, length };
    for _ in 0..9 {
        let names = disk_slots::Esp::list(&esp).map_err(|error| error.to_string())?;
        let mut entries: Vec<(bool, Vec<u32>, Tries, String)> = names
            .into_iter()
            .filter_map(|name| Some((parse(&name)?, version_of(&esp.read(&name))?, name)))
            .map(|(tries, version, name)| (tries.is_none_or(|(left, _)| left > 0), version, tries, name))
            .collect();
        entries.sort();
        let Some((_, _, tries, name)) = entries.pop() else { return Err("no boot image".into()) };
        let boot_image = esp.read(&name);
        let version = versions.iter().find(|version| version.boot_image == boot_image);
        let version = version.ok_or_else(|| format!("{name} is not a whole boot image"))?;
        if let Some((left, done)) = tries.filter(|(left, _)| *left > 0) {
            let (stem, _) = name.split_once('+').unwrap();
            let next = format!("{stem}+{}-{}.efi", left - 1, done + 1);
            disk_slots::Esp::rename(&mut SimEsp { disk: esp.disk.clone(), ..esp }, &name, &next)
                .map_err(|error| error.to_string())?;
        }
        let contains = |uuid: &str, wanted: &[u8]| {
            parts.get(uuid).is_some_and(|(start, _)| {
                let mut bytes = vec![0; wanted.len()];
                content.read(*start, &mut bytes);
                bytes == wanted
            })
        };
        let [usr, verity] = halves(&version.root_hash);
        if contains(&usr, &version.usr) && contains(&verity, &version.verity) {
            return Ok(version.number);
        }
        if tries.is_none_or(|(left, _)| left == 0) {
            return Err(format!("{name} finds no /usr, and nothing else is tried"));
        }
    }
    Err("nothing stays up".into())
}

fn halves(root_hash: &[u8; 32]) -> [String; 2] {
    let (first, second) = root_hash.split_at(16);
    [first, second].map(|half| half.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Start and length of each partition, by label and by UUID.
fn partitions(content: &Content) -> Result<BTreeMap<String, (usize, usize)>, String> {
    // Tries the primary copy, then the backup: the crate falls back only if the header is damaged.
    let open = |content: Content| {
        let part = Part::new(&SimDisk::new(content), 0, DISK);
        gpt::GptConfig::new().writable(false).open_from_device(part)
    };
    let table = open(content.clone()).or_else(|_| {
        let mut without_first = content.clone();
        without_first.write(512, &[0; 512]);
        open(without_first)
    });
    let table = table.map_err(|error| format!("no partition table: {error}"))?;
    let mut found = BTreeMap::new();
    for part in table.partitions().values() {
        let start = usize::try_from(part.first_lba * 512).unwrap();
        let end = usize::try_from((part.last_lba + 1) * 512).unwrap();
        found.insert(part.name.clone(), (start, end - start));
        found.insert(part.part_guid.simple().to_string(), (start, end - start));
    }
    Ok(found)
}
