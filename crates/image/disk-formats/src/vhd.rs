//! Microsoft's virtual hard disk, fixed size: the raw disk and a footer of 512 bytes.
//!
//! Numbers are big-endian. Source: "Virtual Hard Disk Image Format Specification", version 1.0. Azure imports fixed disks
//! only, of a whole number of MiB.

use crate::geometry::Geometry;

/// Bytes of the footer.
pub const FOOTER: usize = 512;
/// First bytes of the footer.
pub const COOKIE: &[u8; 8] = b"conectix";
/// Unix time of the format's epoch, 2000-01-01.
const EPOCH: u64 = 946_684_800;
const FIXED: u32 = 2;
/// Programs that read a disk take its size from the footer's size field only for some creators, and compute it from the
/// geometry for others. This one is Hyper-V's.
const CREATOR: &[u8; 4] = b"win ";
const CHECKSUM_AT: usize = 64;

/// Returns the footer of a disk of `length` bytes. `time` is Unix time.
#[must_use]
pub fn footer(length: u64, time: u64, uuid: [u8; 16]) -> [u8; FOOTER] {
    let geometry = Geometry::vhd(length);
    let time = u32::try_from(time.saturating_sub(EPOCH)).unwrap_or(u32::MAX);
    let fields: [&[u8]; 14] = [
        COOKIE,
        // Reserved, always set.
        &2_u32.to_be_bytes(),
        &0x0001_0000_u32.to_be_bytes(),
        // No dynamic header.
        &u64::MAX.to_be_bytes(),
        &time.to_be_bytes(),
        CREATOR,
        &0x000a_0000_u32.to_be_bytes(),
        b"Wi2k",
        &length.to_be_bytes(),
        &length.to_be_bytes(),
        &[geometry.cylinders.to_be_bytes(), [geometry.heads, geometry.sectors]].concat(),
        &FIXED.to_be_bytes(),
        // The checksum.
        &[0; 4],
        &uuid,
    ];
    let fields = fields.concat();
    let mut footer = [0; FOOTER];
    footer[..fields.len()].copy_from_slice(&fields);
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    footer[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&(!sum).to_be_bytes());
    footer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_has_its_fields_and_checksum() {
        let footer = footer(3 << 30, EPOCH + 0x0102_0304, *b"0123456789abcdef");
        assert_eq!(&footer[..8], COOKIE);
        assert_eq!(footer[24..28], [1, 2, 3, 4]);
        assert_eq!(footer[40..56], [0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0]);
        assert_eq!(&footer[68..84], b"0123456789abcdef");
        let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
        let checksum = u32::from_be_bytes(footer[64..68].try_into().unwrap());
        let of_checksum: u32 = footer[64..68].iter().map(|byte| u32::from(*byte)).sum();
        assert_eq!(checksum, !(sum - of_checksum));
    }
}
