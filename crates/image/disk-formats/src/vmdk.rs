//! VMware's stream-optimized disk, version 3: the disk inside of an OVA, for VMware and VirtualBox.
//!
//! Layout: a header, the descriptor, and for each grain of 64 KiB that is not zero a marker with its compressed content.
//! The table of each 512 grains follows them, the directory of the tables follows all, and a footer with the position of
//! the directory ends the file: a reader can import it as a stream. Source: VMware's "Virtual Disk Format 5.0", whose
//! layout importers check more strictly than that of a disk with its directory in front.

use std::fs::File;
use std::io::{self, Write};

use crate::SECTOR;
use crate::blocks::for_each;
use crate::deflate::{BATCH, BLOCK, Deflater, END};
use crate::geometry::Geometry;

/// Bytes of a grain.
const GRAIN: usize = BLOCK;
/// Of a stream with a window of 32 KiB, compressed fast (RFC 1950).
const ZLIB_HEADER: [u8; 2] = [0x78, 0x5e];
const GRAIN_SECTORS: u64 = GRAIN as u64 / SECTOR;
/// Grains of a table.
const TABLE: usize = 512;
const MAGIC: &[u8; 4] = b"KDMV";
const VERSION: u32 = 3;
/// The line ends of the header are valid, grains are compressed, and markers precede all that follows the descriptor.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Header field of a directory that the footer locates.
const DIRECTORY_AT_END: u64 = u64::MAX;
const DEFLATE: u16 = 1;
/// Detects a transfer that converted line ends.
const LINE_ENDS: &[u8; 4] = b"\n \r\n";

/// The controller that a disk is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// Also for disks of an AHCI controller.
    Ide,
    /// Also for disks of a paravirtual SCSI controller.
    LsiLogic,
}

/// Identifies the content of a disk in its descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentId(u32);

impl ContentId {
    /// An identifier that is derived from the disk. Two values are reserved: that of no parent, and the one before.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self(if id >= u32::MAX - 1 { id - 2 } else { id })
    }
}

/// What the descriptor records.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor<'a> {
    /// Name of the file itself.
    pub file_name: &'a str,
    /// Content of the disk.
    pub content: ContentId,
    /// UUID that VirtualBox registers the disk with.
    pub uuid: &'a str,
    /// Controller of the disk.
    pub adapter: Adapter,
}

/// Why no disk was written.
#[derive(Debug, thiserror::Error)]
pub enum VmdkError {
    /// The format stores whole grains.
    #[error("a disk of {capacity} bytes is not a multiple of {GRAIN} bytes")]
    Capacity {
        /// Bytes of the disk.
        capacity: u64,
    },
    /// The descriptor has a fixed size, and quotes its values.
    #[error("the file name {name:?} does not fit into the descriptor")]
    FileName {
        /// The name.
        name: String,
    },
    /// Reading the disk or writing the file failed.
    #[error("cannot write the disk")]
    Io(#[from] io::Error),
}

/// Writes a disk to `out`.
///
/// # Errors
/// See [`VmdkError`].
pub fn write(
    disk: &File,
    descriptor: &Descriptor<'_>,
    deflater: &Deflater,
    out: impl Write,
) -> Result<(), VmdkError> {
    let capacity = disk.metadata()?.len();
    if capacity == 0 || !capacity.is_multiple_of(GRAIN as u64) {
        return Err(VmdkError::Capacity { capacity });
    }
    let mut text = descriptor.text(capacity).into_bytes();
    let space = (DESCRIPTOR_SECTORS * SECTOR) as usize;
    if text.len() > space || descriptor.file_name.contains(['"', '\n']) {
        return Err(VmdkError::FileName { name: descriptor.file_name.to_owned() });
    }
    text.resize(space, 0);
    let mut out = Sectors { out, written: 0 };
    out.write(&header(capacity, DIRECTORY_AT_END))?;
    out.write(&text)?;
    out.pad_to(GRAIN as u64)?;
    let mut tables = Tables { directory: Vec::new(), current: vec![0; TABLE] };
    let mut batch = Batch::default();
    for_each(disk, GRAIN, |number, grain| {
        batch.numbers.push(number);
        batch.grains.push(grain.to_vec());
        if batch.grains.len() == BATCH { batch.write(deflater, &mut tables, &mut out) } else { Ok(()) }
    })?;
    batch.write(deflater, &mut tables, &mut out)?;
    while tables.directory.len() as u64 != capacity.div_ceil((TABLE * GRAIN) as u64) {
        tables.finish(&mut out)?;
    }
    let directory: Vec<u8> = tables.directory.iter().flat_map(|table| table.to_le_bytes()).collect();
    let sectors = (directory.len() as u64).div_ceil(SECTOR);
    out.write(&marker(sectors, Marker::Directory))?;
    let directory_at = out.written / SECTOR;
    out.write(&directory)?;
    out.pad_to(SECTOR)?;
    out.write(&marker(1, Marker::Footer))?;
    out.write(&header(capacity, directory_at))?;
    out.write(&marker(0, Marker::EndOfStream))?;
    out.out.flush()?;
    Ok(())
}

/// Grains that are not written yet: numbers and contents.
#[derive(Default)]
struct Batch {
    numbers: Vec<u64>,
    grains: Vec<Vec<u8>>,
}

impl Batch {
    /// Writes the grains, and empties the batch.
    fn write(
        &mut self,
        deflater: &Deflater,
        tables: &mut Tables,
        out: &mut Sectors<impl Write>,
    ) -> io::Result<()> {
        let blocks = deflater.blocks(&self.grains)?;
        self.grains.clear();
        for (number, block) in self.numbers.drain(..).zip(blocks) {
            while tables.directory.len() as u64 != number / TABLE as u64 {
                tables.finish(out)?;
            }
            tables.current[(number % TABLE as u64) as usize] = out.position()?;
            // The marker, the sector on the disk and the size, precedes the content in the same sector.
            let content = [&ZLIB_HEADER, &*block.content, &END, &block.adler32.to_be_bytes()].concat();
            let size = u32::try_from(content.len()).map_err(io::Error::other)?;
            out.write(&(number * GRAIN_SECTORS).to_le_bytes())?;
            out.write(&size.to_le_bytes())?;
            out.write(&content)?;
            out.pad_to(SECTOR)?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Marker {
    EndOfStream = 0,
    Table = 1,
    Directory = 2,
    Footer = 3,
}

/// A sector that announces `sectors` of metadata.
fn marker(sectors: u64, kind: Marker) -> [u8; SECTOR as usize] {
    let mut marker = [0; SECTOR as usize];
    marker[..8].copy_from_slice(&sectors.to_le_bytes());
    // The size, four bytes, is zero: it distinguishes markers from grains.
    marker[12..16].copy_from_slice(&(kind as u32).to_le_bytes());
    marker
}

fn header(capacity: u64, directory_at: u64) -> [u8; SECTOR as usize] {
    // Sectors before the first grain, to which the reader may seek.
    let overhead = GRAIN_SECTORS;
    let fields: [&[u8]; 14] = [
        MAGIC,
        &VERSION.to_le_bytes(),
        &FLAGS.to_le_bytes(),
        &(capacity / SECTOR).to_le_bytes(),
        &GRAIN_SECTORS.to_le_bytes(),
        // The descriptor's first sector.
        &1_u64.to_le_bytes(),
        &DESCRIPTOR_SECTORS.to_le_bytes(),
        &(TABLE as u32).to_le_bytes(),
        // No second directory.
        &0_u64.to_le_bytes(),
        &directory_at.to_le_bytes(),
        &overhead.to_le_bytes(),
        // It was closed properly.
        &[0],
        LINE_ENDS,
        &DEFLATE.to_le_bytes(),
    ];
    let fields = fields.concat();
    let mut header = [0; SECTOR as usize];
    header[..fields.len()].copy_from_slice(&fields);
    header
}

/// Grain tables: the finished ones by their first sector, 0 if all grains are zero, and the current one.
struct Tables {
    directory: Vec<u32>,
    current: Vec<u32>,
}

impl Tables {
    fn finish(&mut self, out: &mut Sectors<impl Write>) -> io::Result<()> {
        if self.current.iter().all(|grain| *grain == 0) {
            self.directory.push(0);
            return Ok(());
        }
        let table: Vec<u8> = self.current.iter().flat_map(|grain| grain.to_le_bytes()).collect();
        out.write(&marker(table.len() as u64 / SECTOR, Marker::Table))?;
        self.directory.push(out.position()?);
        self.current.fill(0);
        out.write(&table)
    }
}

/// A writer that counts.
struct Sectors<W> {
    out: W,
    written: u64,
}

impl<W: Write> Sectors<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad_to(&mut self, size: u64) -> io::Result<()> {
        let missing = self.written.next_multiple_of(size) - self.written;
        self.write(&vec![0; usize::try_from(missing).map_err(io::Error::other)?])
    }

    /// The next sector's number. Tables have 32 bits for it: 2 TiB of compressed content.
    fn position(&self) -> io::Result<u32> {
        u32::try_from(self.written / SECTOR).map_err(io::Error::other)
    }
}

impl Descriptor<'_> {
    fn text(&self, capacity: u64) -> String {
        let (adapter, hardware, geometry) = match self.adapter {
            Adapter::Ide => ("ide", 4, Geometry::ide(capacity)),
            Adapter::LsiLogic => ("lsilogic", 6, Geometry::scsi(capacity)),
        };
        let Geometry { cylinders, heads, sectors } = geometry;
        let (file_name, content, uuid) = (self.file_name, self.content.0, self.uuid);
        let none = "00000000-0000-0000-0000-000000000000";
        let extent = capacity / SECTOR;
        // The tools' version is of tools that VMware does not manage.
        format!(
            "# Disk DescriptorFile\nversion=1\nCID={content:08x}\nparentCID=ffffffff\n\
             createType=\"streamOptimized\"\n\n# Extent description\nRDONLY {extent} SPARSE \"{file_name}\"\n\n\
             # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"{hardware}\"\n\
             ddb.adapterType = \"{adapter}\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
             ddb.geometry.heads = \"{heads}\"\nddb.geometry.sectors = \"{sectors}\"\n\
             ddb.toolsVersion = \"2147483647\"\nddb.uuid.image = \"{uuid}\"\nddb.uuid.parent = \"{none}\"\n\
             ddb.uuid.modification = \"{none}\"\nddb.uuid.parentmodification = \"{none}\"\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTOR: Descriptor<'static> = Descriptor {
        file_name: "disk.vmdk",
        content: ContentId(0x0123_abcd),
        uuid: "6f0e4a2c-0000-8000-8000-000000000001",
        adapter: Adapter::LsiLogic,
    };

    fn disk(length: u64, write: &[(u64, u8)]) -> File {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(length).unwrap();
        for (at, byte) in write {
            std::os::unix::fs::FileExt::write_all_at(&disk, &[*byte], *at).unwrap();
        }
        disk
    }

    fn encode(disk: &File) -> Vec<u8> {
        let mut out = Vec::new();
        write(disk, &DESCRIPTOR, &Deflater::new(None), &mut out).unwrap();
        out
    }

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn tables_without_a_grain_are_not_stored() {
        let size = (TABLE * GRAIN) as u64;
        let out = encode(&disk(3 * size, &[(2 * size + GRAIN as u64, 1)]));
        let footer = out.len() - 2 * SECTOR as usize;
        let directory = number(&out, footer + 56) as usize * SECTOR as usize;
        let entries: Vec<_> = out[directory..].chunks(4).take(3).map(<[u8]>::to_vec).collect();
        assert_eq!(entries[..2], [[0; 4], [0; 4]]);
        let table = u32::from_le_bytes(entries[2][..].try_into().unwrap()) as usize * SECTOR as usize;
        // The second grain of the table is the first that is stored.
        assert_eq!(out[table..table + 12], [0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(number(&out, GRAIN), (2 * TABLE as u64 + 1) * GRAIN_SECTORS);
        assert!(out.len() < 2 * GRAIN, "{}", out.len());
    }

    #[test]
    fn the_header_refers_to_the_footer() {
        let out = encode(&disk(GRAIN as u64, &[(9, 7)]));
        assert_eq!(number(&out, 56), DIRECTORY_AT_END);
        let footer = out.len() - 2 * SECTOR as usize;
        assert_eq!(out[..56], out[footer..footer + 56]);
        assert_eq!(out.len() as u64 % SECTOR, 0);
        assert!(out.ends_with(&[0; SECTOR as usize]), "the end of the stream");
    }

    #[test]
    fn what_the_format_cannot_express_is_refused() {
        let write = |capacity: u64, file_name: &'static str| {
            let descriptor = Descriptor { file_name, ..DESCRIPTOR };
            let deflater = Deflater::new(None);
            write(&disk(capacity, &[]), &descriptor, &deflater, io::sink()).unwrap_err().to_string()
        };
        assert_eq!(write(1 << 15, "a"), "a disk of 32768 bytes is not a multiple of 65536 bytes");
        assert_eq!(write(0, "a"), "a disk of 0 bytes is not a multiple of 65536 bytes");
        assert_eq!(write(1 << 16, "a\"b"), "the file name \"a\\\"b\" does not fit into the descriptor");
    }

    #[test]
    fn reserved_content_ids_are_never_used() {
        assert_eq!(ContentId::new(0x0102_0304).0, 0x0102_0304);
        assert!([u32::MAX, u32::MAX - 1].into_iter().all(|id| ContentId::new(id).0 < u32::MAX - 1));
    }
}
