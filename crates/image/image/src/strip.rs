//! Strips debug information from programs.

use object::elf::{FileHeader64, SHN_UNDEF};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, from_bytes_mut};

/// The ELF type of the node's programs.
type Header = FileHeader64<LittleEndian>;

#[derive(Debug, thiserror::Error)]
#[error("not a supported ELF program: {0}")]
pub struct StripError(String);

/// Removes everything after the last segment: debug information, symbols, and the section table.
pub fn strip_to_segments(program: &mut Vec<u8>) -> Result<(), StripError> {
    let end = end_of_segments(program).map_err(|error| StripError(error.to_string()))?;
    let length = usize::try_from(end).ok().filter(|end| *end <= program.len());
    program.truncate(length.ok_or_else(|| StripError("the file is shorter than its segments".to_owned()))?);
    let header = from_bytes_mut::<Header>(program);
    let (header, _) = header.map_err(|()| StripError("the file is shorter than its header".to_owned()))?;
    header.e_shoff.set(LittleEndian, 0);
    header.e_shnum.set(LittleEndian, 0);
    header.e_shstrndx.set(LittleEndian, SHN_UNDEF);
    Ok(())
}

fn end_of_segments(program: &[u8]) -> object::read::Result<u64> {
    let header = Header::parse(program)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, program)?;
    let ends =
        segments.iter().map(|segment| segment.p_offset(endian).saturating_add(segment.p_filesz(endian)));
    Ok(ends.max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use object::Object;

    use super::*;

    #[test]
    fn a_program_runs_without_its_sections() {
        let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let before = program.len();
        assert!(object::File::parse(&*program).unwrap().section_by_name(".symtab").is_some());
        strip_to_segments(&mut program).unwrap();
        assert!(program.len() < before, "{before} bytes");
        assert_eq!(object::File::parse(&*program).unwrap().sections().count(), 0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        std::fs::write(&path, &program).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let listed = Command::new(&path).arg("--list").output().unwrap();
        assert!(listed.status.success());
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains("a_program_runs_without_its_sections"), "{listed}");
    }

    #[test]
    fn invalid_programs_are_rejected() {
        for bytes in [&b"#!/bin/sh\n"[..], b"", b"\x7fELF"] {
            strip_to_segments(&mut bytes.to_vec()).unwrap_err();
        }
        let mut short = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        short.truncate(8192);
        strip_to_segments(&mut short).unwrap_err();
    }
}
