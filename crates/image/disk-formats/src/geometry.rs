//! Cylinders, heads and sectors of a disk, which some formats record for the BIOS.

use crate::SECTOR;

/// Geometry of a disk. It covers at most the disk, and less where the disk is larger than the fields can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// At most 65535.
    pub cylinders: u16,
    /// At most 255.
    pub heads: u8,
    /// Sectors per track, at most 255.
    pub sectors: u8,
}

impl Geometry {
    /// Geometry of an IDE disk of `length` bytes: 16 heads, 63 sectors, at most 16383 cylinders.
    #[must_use]
    pub fn ide(length: u64) -> Self {
        let cylinders = (length / SECTOR / (16 * 63)).clamp(1, 16_383);
        Self { cylinders: u16::try_from(cylinders).unwrap_or(16_383), heads: 16, sectors: 63 }
    }

    /// Geometry of a SCSI disk of `length` bytes as VMware computes it: 64 heads and 32 sectors up to 1 GiB, 128 and 32
    /// up to 2 GiB, 255 and 63 above.
    #[must_use]
    pub fn scsi(length: u64) -> Self {
        let (heads, sectors): (u8, u8) = match length >> 30 {
            0 => (64, 32),
            1 => (128, 32),
            _ => (255, 63),
        };
        let cylinders = (length / SECTOR / (u64::from(heads) * u64::from(sectors))).clamp(1, 65_535);
        Self { cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX), heads, sectors }
    }

    /// Geometry in the footer of a VHD: the algorithm in the appendix of Microsoft's "Virtual Hard Disk Image Format
    /// Specification", version 1.0.
    #[must_use]
    pub fn vhd(length: u64) -> Self {
        const MOST: u64 = 65_535 * 16 * 255;
        let total = (length / SECTOR).min(MOST);
        let (heads, sectors) = if total >= 65_535 * 16 * 63 {
            (16, 255)
        } else {
            let heads = (total / 17).div_ceil(1024).max(4);
            if heads <= 16 && total / 17 < heads * 1024 {
                (heads, 17)
            } else if total / 31 < 16 * 1024 {
                (16, 31)
            } else {
                (16, 63)
            }
        };
        let cylinders = total / sectors / heads;
        // invariant: `total` bounds the cylinders, and the heads are at most 16.
        Self {
            cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(16),
            sectors: u8::try_from(sectors).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn check(geometry: Geometry, expected: (u16, u8, u8)) {
        assert_eq!((geometry.cylinders, geometry.heads, geometry.sectors), expected);
    }

    #[test]
    fn geometry_follows_the_size() {
        check(Geometry::ide(3 * GIB), (6_241, 16, 63));
        check(Geometry::ide(100 * GIB), (16_383, 16, 63));
        check(Geometry::scsi(GIB / 2), (512, 64, 32));
        check(Geometry::scsi(GIB), (512, 128, 32));
        check(Geometry::scsi(3 * GIB), (391, 255, 63));
    }

    #[test]
    fn a_vhd_has_the_geometry_of_its_specification() {
        check(Geometry::vhd(8 << 20), (240, 4, 17));
        check(Geometry::vhd(3 * GIB), (6_241, 16, 63));
        check(Geometry::vhd(200 * GIB), (65_535, 16, 255));
    }
}
