//! Images of a version.

use payload::verity::{Hasher, Parameters};
use release::{Digest, Verity, Version};

/// Two full segments of 16 MiB and a short one.
const USR: usize = 34 << 20;

/// The images of a version.
pub struct Images {
    /// Of the images.
    pub version: Version,
    /// The image of `/usr`.
    pub usr: Vec<u8>,
    /// The boot image.
    pub uki: Vec<u8>,
    /// Root hash and parameters of the hash tree.
    pub verity: Verity,
    /// The hash tree of `usr`.
    pub tree: Vec<u8>,
}

impl Images {
    /// Equal for equal versions.
    pub fn new(version: &str) -> Self {
        let version: Version = version.parse().unwrap();
        // Differs between versions in some blocks only, and compresses quickly.
        let mut usr = vec![0; USR];
        for (number, block) in usr.chunks_mut(4096).enumerate() {
            let text = format!("block {number} {}", number.wrapping_mul(2_654_435_761));
            block[..text.len()].copy_from_slice(text.as_bytes());
            if number % 500 == 0 {
                let text = format!("{version} {number}");
                block[2048..2048 + text.len()].copy_from_slice(text.as_bytes());
            }
        }
        let salt = Digest([9; 32]);
        let uuid = "00112233-4455-8677-8899-aabbccddeeff";
        let mut verity = Verity { root_hash: Digest([0; 32]), salt, uuid: uuid.into() };
        let mut hasher = Hasher::new(&Parameters::of(&verity).unwrap(), USR as u64).unwrap();
        hasher.update(&usr);
        let tree = hasher.finish().unwrap();
        verity.root_hash = tree.root;
        let uki = boot_image(&version, tree.root);
        Self { uki, verity, tree: tree.parts().flatten().copied().collect(), usr, version }
    }
}

/// A minimal PE file with one section.
fn boot_image(version: &Version, root_hash: Digest) -> Vec<u8> {
    let line = format!("quiet usrhash={root_hash}");
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
    file.extend(format!(" version {version} ").repeat(1000).into_bytes());
    file
}
