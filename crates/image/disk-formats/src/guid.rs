//! UUIDs as Microsoft's and VirtualBox's formats store them.

/// The first three fields of a UUID in little-endian order, the rest in the order of its text.
#[must_use]
pub fn mixed_endian(mut uuid: [u8; 16]) -> [u8; 16] {
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    uuid
}

/// The stored form of a well-known UUID, given as the number that its text is without hyphens.
#[must_use]
pub const fn well_known(number: u128) -> [u8; 16] {
    let mut uuid = number.to_be_bytes();
    let swaps = [(0, 3), (1, 2), (4, 5), (6, 7)];
    let mut at = 0;
    while at < swaps.len() {
        let (one, other) = swaps[at];
        (uuid[one], uuid[other]) = (uuid[other], uuid[one]);
        at += 1;
    }
    uuid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_have_the_order_of_the_formats() {
        assert_eq!(&mixed_endian(*b"0123456789abcdef"), b"3210547689abcdef");
        let number = u128::from_be_bytes(*b"0123456789abcdef");
        assert_eq!(well_known(number), mixed_endian(*b"0123456789abcdef"));
    }
}
