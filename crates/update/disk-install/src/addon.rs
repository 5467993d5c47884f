//! Kernel arguments of an installed system: an addon of systemd-stub (systemd-stub(7), Addons), which has them in the section
//! `.cmdline`.
//!
//! The stub has the firmware load each addon, and appends its arguments to those of the boot image. It starts none. Under
//! Secure Boot the firmware refuses to load an unsigned one, and the system boots without its arguments.

use object::pe::{
    IMAGE_DOS_SIGNATURE, IMAGE_FILE_EXECUTABLE_IMAGE, IMAGE_FILE_LARGE_ADDRESS_AWARE,
    IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64, IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_NT_SIGNATURE,
    IMAGE_NUMBEROF_DIRECTORY_ENTRIES, IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA,
    IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_READ, IMAGE_SUBSYSTEM_EFI_APPLICATION, ImageDataDirectory,
    ImageDosHeader, ImageFileHeader, ImageNtHeaders64, ImageOptionalHeader64, ImageSectionHeader, Machine,
    SectionFlags,
};
use object::pod::bytes_of;

/// Where the stub finds addons for all boot images of a disk, on the boot partition.
pub const ADDON: &str = "loader/addons/coreos-install.addon.efi";
/// Bytes of all arguments: the kernel's limit is 2,048, and the boot image has its own.
const MAX_BYTES: usize = 1024;
/// It selects `/usr`, and is the boot image's.
const ROOT_HASH: &str = "usrhash=";
/// Of each section, in the file and in memory: none is larger.
const SECTION: u32 = 4096;
const FILE_ALIGNMENT: u32 = 512;
/// `e_lfanew` of the DOS header.
const DOS_OFFSET: usize = 0x3c;
/// Where a section is: headers, code and arguments follow each other, in the file as in memory.
const CODE: u32 = SECTION;
const ARGUMENTS: u32 = 2 * SECTION;
const END: u32 = 3 * SECTION;

/// Why arguments are refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ArgumentError {
    #[error("invalid kernel argument {0:?}: it has printable ASCII characters, without spaces and quotes")]
    Invalid(String),
    #[error("the kernel argument {0} is the boot image's: it selects and verifies /usr")]
    RootHash(String),
    #[error("the kernel arguments have {0} bytes, more than {MAX_BYTES}")]
    TooLong(usize),
}

/// The program that a firmware can load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    fn machine(self) -> Machine {
        match self {
            Self::Amd64 => IMAGE_FILE_MACHINE_AMD64,
            Self::Arm64 => IMAGE_FILE_MACHINE_ARM64,
        }
    }

    /// A function that returns 0, should anything start the program.
    fn code(self) -> &'static [u8] {
        match self {
            Self::Amd64 => &[0x31, 0xc0, 0xc3],
            Self::Arm64 => &[0x00, 0x00, 0x80, 0xd2, 0xc0, 0x03, 0x5f, 0xd6],
        }
    }
}

/// An addon with `arguments`, in order.
///
/// # Errors
/// An argument is invalid, or they are too long.
pub fn addon(arguments: &[String], architecture: Architecture) -> Result<Vec<u8>, ArgumentError> {
    for argument in arguments {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"'".contains(&byte);
        if argument.is_empty() || !argument.bytes().all(allowed) {
            return Err(ArgumentError::Invalid(argument.clone()));
        }
        if argument.starts_with(ROOT_HASH) {
            return Err(ArgumentError::RootHash(argument.clone()));
        }
    }
    let line = arguments.join(" ");
    match u32::try_from(line.len()) {
        Ok(length) if line.len() <= MAX_BYTES => Ok(program(line.as_bytes(), length, architecture)),
        _ => Err(ArgumentError::TooLong(line.len())),
    }
}

fn program(line: &[u8], length: u32, architecture: Architecture) -> Vec<u8> {
    let code = architecture.code();
    // Nothing else of it is used: a signature, and the offset of the next header at its end.
    let mut dos = [0; size_of::<ImageDosHeader>()];
    let offset = u32::try_from(dos.len()).unwrap_or_default();
    for (at, bytes) in [(0, &IMAGE_DOS_SIGNATURE.to_le_bytes()[..]), (DOS_OFFSET, &offset.to_le_bytes())] {
        if let Some(field) = dos.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    }
    let executable = IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ;
    let readable = IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ;
    let sections = [
        section(*b".text\0\0\0", executable, CODE, u32::try_from(code.len()).unwrap_or_default()),
        section(*b".cmdline", readable, ARGUMENTS, length),
    ];
    let mut out = [&dos[..], bytes_of(&headers(architecture))].concat();
    out.extend([0; size_of::<ImageDataDirectory>() * IMAGE_NUMBEROF_DIRECTORY_ENTRIES]);
    sections.iter().for_each(|section| out.extend(bytes_of(section)));
    for (offset, content) in [(CODE, code), (ARGUMENTS, line)] {
        out.resize(offset as usize, 0);
        out.extend(content);
    }
    out.resize(END as usize, 0);
    out
}

fn section(name: [u8; 8], characteristics: SectionFlags, at: u32, length: u32) -> ImageSectionHeader {
    ImageSectionHeader {
        name,
        virtual_size: length.into(),
        virtual_address: at.into(),
        size_of_raw_data: SECTION.into(),
        pointer_to_raw_data: at.into(),
        pointer_to_relocations: 0.into(),
        pointer_to_linenumbers: 0.into(),
        number_of_relocations: 0.into(),
        number_of_linenumbers: 0.into(),
        characteristics: characteristics.into(),
    }
}

fn headers(architecture: Architecture) -> ImageNtHeaders64 {
    let directories = size_of::<ImageDataDirectory>() * IMAGE_NUMBEROF_DIRECTORY_ENTRIES;
    let optional = u16::try_from(size_of::<ImageOptionalHeader64>() + directories).unwrap_or_default();
    ImageNtHeaders64 {
        signature: IMAGE_NT_SIGNATURE.into(),
        file_header: ImageFileHeader {
            machine: architecture.machine().into(),
            number_of_sections: 2.into(),
            time_date_stamp: 0.into(),
            pointer_to_symbol_table: 0.into(),
            number_of_symbols: 0.into(),
            size_of_optional_header: optional.into(),
            characteristics: (IMAGE_FILE_EXECUTABLE_IMAGE | IMAGE_FILE_LARGE_ADDRESS_AWARE).into(),
        },
        optional_header: ImageOptionalHeader64 {
            magic: IMAGE_NT_OPTIONAL_HDR64_MAGIC.into(),
            major_linker_version: 0,
            minor_linker_version: 0,
            size_of_code: SECTION.into(),
            size_of_initialized_data: SECTION.into(),
            size_of_uninitialized_data: 0.into(),
            address_of_entry_point: CODE.into(),
            base_of_code: CODE.into(),
            image_base: 0.into(),
            section_alignment: SECTION.into(),
            file_alignment: FILE_ALIGNMENT.into(),
            major_operating_system_version: 0.into(),
            minor_operating_system_version: 0.into(),
            major_image_version: 0.into(),
            minor_image_version: 0.into(),
            major_subsystem_version: 0.into(),
            minor_subsystem_version: 0.into(),
            win32_version_value: 0.into(),
            size_of_image: END.into(),
            size_of_headers: SECTION.into(),
            check_sum: 0.into(),
            subsystem: IMAGE_SUBSYSTEM_EFI_APPLICATION.into(),
            dll_characteristics: Default::default(),
            size_of_stack_reserve: 0.into(),
            size_of_stack_commit: 0.into(),
            size_of_heap_reserve: 0.into(),
            size_of_heap_commit: 0.into(),
            loader_flags: 0.into(),
            number_of_rva_and_sizes: u32::try_from(IMAGE_NUMBEROF_DIRECTORY_ENTRIES)
                .unwrap_or_default()
                .into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use object::read::pe::PeFile64;
    use object::{Architecture as Found, Object, ObjectSection};

    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_addon_is_a_program_of_the_firmware_with_the_arguments() {
        for (architecture, found) in
            [(Architecture::Amd64, Found::X86_64), (Architecture::Arm64, Found::Aarch64)]
        {
            let bytes = addon(&words(&["console=ttyS1,115200", "quiet"]), architecture).unwrap();
            let file = PeFile64::parse(&*bytes).unwrap();
            assert_eq!(file.architecture(), found);
            let headers = file.nt_headers();
            let subsystem = headers.optional_header.subsystem.get(object::LittleEndian);
            assert_eq!(subsystem, IMAGE_SUBSYSTEM_EFI_APPLICATION);
            let section = file.section_by_name(".cmdline").unwrap();
            // What the stub reads: the section's size in memory.
            assert_eq!(section.size(), 26);
            assert_eq!(&section.data().unwrap()[..26], b"console=ttyS1,115200 quiet");
            let text = file.section_by_name(".text").unwrap();
            assert_eq!(text.address(), file.entry());
            assert_eq!(bytes, addon(&words(&["console=ttyS1,115200", "quiet"]), architecture).unwrap());
        }
    }

    #[test]
    fn arguments_are_checked() {
        let check = |text: &[&str], expected: ArgumentError| {
            assert_eq!(addon(&words(text), Architecture::Amd64).unwrap_err(), expected);
        };
        for bad in ["", "a b", "a\"b\"", "a'", "a\n", "a\0", "\u{e9}"] {
            check(&["ok", bad], ArgumentError::Invalid(bad.to_owned()));
        }
        check(&["usrhash=00"], ArgumentError::RootHash("usrhash=00".to_owned()));
        let long = "a".repeat(MAX_BYTES / 2);
        check(&[&long, &long], ArgumentError::TooLong(MAX_BYTES + 1));
        addon(&words(&[&long, &long[1..]]), Architecture::Amd64).unwrap();
    }
}
