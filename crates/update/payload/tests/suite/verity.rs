//! Compares with the output of `veritysetup` 2.7.5 for the same images:
//!
//!     veritysetup format --uuid=00112233-4455-6677-8899-aabbccddeeff --salt=SALT IMAGE TREE; sha256sum TREE
//!
//! An image's 32-bit number `n` is `n * 2654435761`, little-endian.

use std::io::Cursor;

use payload::verity::{BLOCK_BYTES, Hasher, Parameters, Tree, VerityError, tree_bytes};
use payload::{Digest, GrowingFile, ReadAt};
use sha2::{Digest as _, Sha256};

/// SHA-256 of `keelson`.
const SALT: &str = "53db4e7b78b6d1a9e0e5d4dc621b52182ad12635f9641b6e05235c205303fc2b";
const UUID: [u8; 16] =
    [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];

fn parameters(salt: &str) -> Parameters {
    let bytes = (0..salt.len() / 2).map(|at| u8::from_str_radix(&salt[at * 2..at * 2 + 2], 16).unwrap());
    Parameters { salt: bytes.collect(), uuid: UUID }
}

fn image(blocks: u32) -> Vec<u8> {
    (0..blocks * 1024).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn tree(parameters: &Parameters, image: &[u8], piece: usize) -> Tree {
    let mut hasher = Hasher::new(parameters, image.len() as u64).unwrap();
    image.chunks(piece).for_each(|piece| hasher.update(piece));
    hasher.finish().unwrap()
}

fn check(blocks: u32, salt: &str, root: &str, whole: &str) {
    let image = image(blocks);
    // Large images are hashed with one chunk size only.
    let pieces = [10_000, 4096, 1000, image.len()];
    for piece in pieces.into_iter().take(if blocks < 1000 { 4 } else { 1 }) {
        let tree = tree(&parameters(salt), &image, piece);
        let digest = tree.parts().fold(Sha256::new(), |hasher, part| hasher.chain_update(part));
        assert_eq!(tree.root.to_string(), root, "{blocks} blocks in pieces of {piece}");
        assert_eq!(Digest(digest.finalize().into()).to_string(), whole, "{blocks} blocks");
        assert_eq!(tree.size(), tree_bytes(image.len() as u64));
        assert_eq!(tree.size(), tree.parts().map(|part| part.len() as u64).sum::<u64>());
    }
}

#[test]
fn trees_match_veritysetup() {
    check(
        1,
        SALT,
        "6658ce9bf888d4dbbe7f7bb0bdcc324f44e29532fde88df1612892eba7d83d7f",
        "e0c364acedc681fad5898a1e736f2a4e776b3a23cce6419668164c73062c0f54",
    );
    check(
        2,
        SALT,
        "5307379658028ab34018ded7f68942de0e65dc5ea997dc8684356a1472fcf344",
        "c6df53054220f1eaa03c7f7f9f5926f65ce85068605c033ead97c6239ce2cdb2",
    );
    check(
        128,
        SALT,
        "b35a4754944c57d5bf7ae7e815b929b426b2b15b2389ae212cda0253bdbd5208",
        "feafedc507aa1afc705c5e8ee7f10d6fbdcd5d04a9f5f953db557f343a0252c7",
    );
    check(
        129,
        SALT,
        "4c95e1cc76e61df7c5190422564fcb0779936b42156e88269776d20384eba7bf",
        "20076fa8604d187a939db9af0222eaf1c93b60c3fbfe166bb617acc31ef83475",
    );
    check(
        129,
        "",
        "d91b1fc8ad16fe3f6e91175bc0ef0c6eea45b6e27a57d90299fb164e7ff1a3c2",
        "8949e3488182b58ae46f3d2f61af0e6d48154838d6205f389d51df96fbcba772",
    );
    check(
        300,
        "00",
        "6546d7814fd5a0b3591dbc44fe3cc37de7ee061dd61bb85ebf6148f5fcddcc72",
        "b12daa14e0da9bf849456966506baa5ae17b9108003b624fe2ec549614221a41",
    );
    // Three levels.
    check(
        16385,
        SALT,
        "e5cfbffe8a27018b164e2b6d89b3c4778141e445a73e298357c10b97d97c025c",
        "b4886c765fa09ce3cfc0b3ee6bba365349e88ab47128c824384a34b2511158c4",
    );
}

#[test]
fn images_without_complete_blocks_are_rejected() {
    let long = Parameters { salt: vec![0; 257], uuid: UUID };
    assert!(matches!(Hasher::new(&long, 4096), Err(VerityError::Salt(257))));
    for size in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES + 1] {
        let mut hasher = Hasher::new(&parameters(SALT), size as u64).unwrap();
        hasher.update(&vec![1; size]);
        assert!(matches!(hasher.finish(), Err(VerityError::Blocks(got)) if got == size as u64), "{size}");
    }
}

#[test]
fn a_tree_is_written_and_compared_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tree");
    std::fs::write(&path, [7; 40_000]).unwrap();
    let tree = tree(&parameters(SALT), &image(300), 4096);
    let target = GrowingFile::open(&path).unwrap();
    tree.write(&target).unwrap();
    assert_eq!(target.size().unwrap(), tree.size());
    let mut bytes = std::fs::read(&path).unwrap();
    tree.compare(Cursor::new(&bytes)).unwrap();
    for at in [0, 100, 4096, bytes.len() - 1] {
        bytes[at] ^= 1;
        assert!(
            matches!(tree.compare(Cursor::new(&bytes)), Err(VerityError::Differs(got)) if got == at as u64)
        );
        bytes[at] ^= 1;
    }
    assert!(matches!(tree.compare(Cursor::new(&bytes[1..])), Err(VerityError::Differs(_))));
    assert!(matches!(tree.compare(Cursor::new(&bytes[..4096])), Err(VerityError::Read(_))));
}
