//! The firmware's boot entry for an installed disk (UEFI specification, 3.1 and 10.3), in efivarfs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk_slots::gpt::{Partition, swap_byte_order};

/// Vendor of the specification's own variables.
const VENDOR: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// `EFI_VARIABLE_NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS`, which begins each file of efivarfs.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
/// `LOAD_OPTION_ACTIVE`.
const ACTIVE: u32 = 1;
const SECTOR: u64 = 512;
/// Boot entries of any real machine, and bytes of one.
const MAX_ENTRIES: usize = 256;
const MAX_VARIABLE: u64 = 1 << 16;

/// Why there is no boot entry.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum BootEntryError {
    #[error("there are no EFI variables in {0}: this system was not started by UEFI firmware")]
    NoVariables(PathBuf),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0} has no valid content")]
    Invalid(PathBuf),
    #[error("the firmware has {0} boot entries already")]
    Full(usize),
}

/// The firmware's variables.
#[derive(Debug)]
pub struct BootEntries(PathBuf);

impl BootEntries {
    /// `folder` is where efivarfs is mounted.
    ///
    /// # Errors
    /// There are none.
    pub fn open(folder: &Path) -> Result<Self, BootEntryError> {
        let entries = fs::read_dir(folder).map(|mut entries| entries.next().is_some());
        if entries.unwrap_or(false) {
            Ok(Self(folder.to_owned()))
        } else {
            Err(BootEntryError::NoVariables(folder.to_owned()))
        }
    }

    /// Makes `loader` (`\EFI\BOOT\BOOTX64.EFI`) on the partition the first one to start, with an entry of this title. An
    /// equal entry is used again. Returns its number.
    ///
    /// # Errors
    /// A variable cannot be read or written.
    pub fn add(&self, title: &str, partition: &Partition, loader: &str) -> Result<u16, BootEntryError> {
        let option = load_option(title, partition, loader);
        let mut number = None;
        let mut used = Vec::new();
        for found in self.numbers()? {
            if self.read(&entry_name(found))?.as_deref() == Some(&*option) {
                number = Some(found);
            }
            used.push(found);
        }
        if used.len() >= MAX_ENTRIES && number.is_none() {
            return Err(BootEntryError::Full(used.len()));
        }
        let number = match number {
            Some(number) => number,
            None => {
                let free = (0..=u16::MAX).find(|number| !used.contains(number));
                let number = free.ok_or(BootEntryError::Full(used.len()))?;
                // Before the order: an entry that the order lacks is never started.
                self.write(&entry_name(number), &option)?;
                number
            }
        };
        let before = self.order()?;
        let mut order = vec![number];
        order.extend(before.iter().filter(|other| **other != number));
        if order != before {
            let bytes: Vec<u8> = order.iter().flat_map(|number| number.to_le_bytes()).collect();
            self.write("BootOrder", &bytes)?;
        }
        Ok(number)
    }

    /// Numbers of `Boot0000` to `BootFFFF`, sorted.
    fn numbers(&self) -> Result<Vec<u16>, BootEntryError> {
        let failed = |source| BootEntryError::Read { path: self.0.clone(), source };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let digits = name.strip_prefix("Boot").and_then(|rest| rest.strip_suffix(&format!("-{VENDOR}")));
            let digits = digits.filter(|digits| digits.len() == 4);
            numbers.extend(digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn order(&self) -> Result<Vec<u16>, BootEntryError> {
        let bytes = self.read("BootOrder")?.unwrap_or_default();
        let (pairs, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(BootEntryError::Invalid(self.path("BootOrder")));
        }
        Ok(pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}-{VENDOR}"))
    }

    /// A variable's value, without its attributes; `None` if it does not exist.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BootEntryError> {
        let path = self.path(name);
        let failed = |source| BootEntryError::Read { path: path.clone(), source };
        let mut bytes = Vec::new();
        let file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        io::Read::read_to_end(&mut io::Read::take(file, MAX_VARIABLE), &mut bytes).map_err(failed)?;
        match bytes.split_at_checked(ATTRIBUTES.len()) {
            Some((_, value)) => Ok(Some(value.to_vec())),
            None => Err(BootEntryError::Invalid(path)),
        }
    }

    /// efivarfs takes a variable as one write.
    fn write(&self, name: &str, value: &[u8]) -> Result<(), BootEntryError> {
        let path = self.path(name);
        let bytes = [&ATTRIBUTES[..], value].concat();
        let mut options = OpenOptions::new();
        let written = options.write(true).create(true).truncate(false).open(&path).and_then(|mut file| {
            let length = file.write(&bytes)?;
            if length == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
        });
        written.map_err(|source| BootEntryError::Write { path, source })
    }
}

fn entry_name(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// `EFI_LOAD_OPTION`: attributes, length of the path, title, path of partition and file.
fn load_option(title: &str, partition: &Partition, loader: &str) -> Vec<u8> {
    // Media device path, hard drive: number, first sector, sectors, UUID, GPT, "the signature is a UUID".
    let mut path = vec![4, 1, 42, 0];
    path.extend(partition.number.to_le_bytes());
    path.extend((partition.offset / SECTOR).to_le_bytes());
    path.extend((partition.bytes / SECTOR).to_le_bytes());
    path.extend(swap_byte_order(partition.uuid));
    path.extend([2, 2]);
    // Media device path, file; then the end of the path.
    let file = utf16(loader);
    path.extend([4, 4]);
    path.extend(length(file.len() + 4));
    path.extend(file);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend(length(path.len()));
    option.extend(utf16(title));
    option.extend(path);
    option
}

/// Titles and paths of this program are short.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes).unwrap_or(u16::MAX).to_le_bytes()
}

/// With a final NUL.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOADER: &str = r"\EFI\BOOT\BOOTX64.EFI";

    fn partition() -> Partition {
        Partition {
            number: 1,
            label: "EFI-SYSTEM".into(),
            uuid: *b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef",
            offset: 1 << 20,
            bytes: 512 << 20,
        }
    }

    struct Firmware(tempfile::TempDir);

    impl Firmware {
        fn new(variables: &[(&str, &[u8])]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, value) in variables {
                let bytes = [&ATTRIBUTES[..], value].concat();
                fs::write(folder.path().join(format!("{name}-{VENDOR}")), bytes).unwrap();
            }
            Self(folder)
        }

        fn add(&self, title: &str) -> Result<u16, BootEntryError> {
            BootEntries::open(self.0.path())?.add(title, &partition(), LOADER)
        }

        fn value(&self, name: &str) -> Vec<u8> {
            let bytes = fs::read(self.0.path().join(format!("{name}-{VENDOR}"))).unwrap();
            assert_eq!(bytes[..4], ATTRIBUTES);
            bytes[4..].to_vec()
        }
    }

    #[test]
    fn a_load_option_is_that_of_the_specification() {
        let option = load_option("K", &partition(), r"\E");
        let expected = [
            &[1, 0, 0, 0, 56, 0][..],
            b"K\0\0\0",
            &[4, 1, 42, 0, 1, 0, 0, 0],
            &2048_u64.to_le_bytes(),
            &1_048_576_u64.to_le_bytes(),
            b"\x67\x45\x23\x01\xab\x89\xef\xcd\x01\x23\x45\x67\x89\xab\xcd\xef",
            &[2, 2],
            &[4, 4, 10, 0],
            b"\\\0E\0\0\0",
            &[0x7f, 0xff, 4, 0],
        ];
        assert_eq!(option, expected.concat());
    }

    #[test]
    fn the_entry_is_first_and_written_once() {
        let firmware = Firmware::new(&[
            ("Boot0000", b"other"),
            ("Boot0002", b"other"),
            ("BootOrder", &[2, 0, 0, 0]),
            ("BootCurrent", &[2, 0]),
            ("BootOptionSupport", &[0, 0, 0, 0]),
        ]);
        assert_eq!(firmware.add("Keelson").unwrap(), 1);
        assert_eq!(firmware.value("BootOrder"), [1, 0, 2, 0, 0, 0]);
        assert_eq!(firmware.value("Boot0001"), load_option("Keelson", &partition(), LOADER));
        assert_eq!(firmware.add("Keelson").unwrap(), 1);
        assert_eq!(firmware.add("Another").unwrap(), 3);
        assert_eq!(firmware.value("BootOrder"), [3, 0, 1, 0, 2, 0, 0, 0]);
        assert_eq!(firmware.add("Keelson").unwrap(), 1);
        assert_eq!(firmware.value("BootOrder"), [1, 0, 3, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn a_machine_without_variables_is_an_error() {
        let refused = Firmware::new(&[]).add("Keelson").unwrap_err().to_string();
        assert!(refused.contains("was not started by UEFI firmware"), "{refused}");
        let odd = Firmware::new(&[("BootOrder", &[1])]).add("Keelson").unwrap_err();
        assert!(matches!(odd, BootEntryError::Invalid(_)), "{odd:?}");
        let empty = Firmware::new(&[("Timeout", &[0, 0])]);
        assert_eq!(empty.add("Keelson").unwrap(), 0);
    }
}
