//! The bytes of a disk image: decoded, and verified while they are read.

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use minisign_verify::{PublicKey, Signature, StreamVerifier};
use release::Digest;
use sha2::{Digest as _, Sha256};

/// First bytes of a file that identify its encoding.
const MAGIC: usize = 8;
const BUFFER: usize = 1 << 18;
/// A partition table's signature, and its offset.
const GPT: &[u8; 8] = b"EFI PART";
const GPT_OFFSET: u64 = 512;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum ImageError {
    #[error("cannot read the image")]
    Read(#[source] io::Error),
    #[error("the image is {encoding}; convert it first: {command}")]
    Encoding { encoding: &'static str, command: &'static str },
    #[error("the SHA-256 of the image file is {actual}, expected {expected}")]
    FileDigest { actual: Digest, expected: Digest },
    #[error("the SHA-256 of the disk image is {actual}, expected {expected}")]
    DiskDigest { actual: Digest, expected: Digest },
    #[error("the digest of the disk image's chunks is {actual}, expected {expected}")]
    Chunks { actual: Digest, expected: Digest },
    #[error("the signature cannot be verified: {0}")]
    Signature(String),
}

/// What the image must be. Digests are from a verified source: that is the caller's decision.
#[derive(Clone, Default)]
pub struct Expected<'a> {
    /// SHA-256 of the file, as it is transferred.
    pub file: Option<Digest>,
    /// SHA-256 of the raw disk inside.
    pub disk: Option<Digest>,
    /// [`ChunkedDigest`](release::ChunkedDigest) of the raw disk inside.
    pub chunks: Option<Digest>,
    /// A signature of the file and its key.
    pub signature: Option<(&'a PublicKey, &'a Signature)>,
}

impl Expected<'_> {
    /// Whether anything is.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.file.is_some() || self.disk.is_some() || self.chunks.is_some() || self.signature.is_some()
    }
}

impl fmt::Debug for Expected<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = self.signature.map(|(_, signature)| signature.trusted_comment());
        out.debug_struct("Expected")
            .field("file", &self.file)
            .field("disk", &self.disk)
            .field("chunks", &self.chunks)
            .field("signature", &signature)
            .finish()
    }
}

/// The file, hashed while it is read. The decoder and the stream share it, since a decoder may not read its end.
struct HashedFile<'a> {
    source: Box<dyn Read + 'a>,
    digest: Option<Sha256>,
    signature: Option<StreamVerifier<'a>>,
}

impl Read for HashedFile<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        let bytes = into.get(..read).unwrap_or_default();
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        if let Some(signature) = &mut self.signature {
            signature.update(bytes);
        }
        Ok(read)
    }
}

#[derive(Clone)]
struct Shared<'a>(Rc<RefCell<HashedFile<'a>>>);

impl Read for Shared<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(into)
    }
}

/// Bytes of a raw disk, from a file in any known encoding.
pub struct ImageStream<'a> {
    decoder: Box<dyn Read + 'a>,
    file: Shared<'a>,
    disk: Option<Sha256>,
    expected: Expected<'a>,
}

impl<'a> ImageStream<'a> {
    /// Detects the encoding of `source` by its first bytes.
    ///
    /// # Errors
    /// The source cannot be read, is in an encoding of virtual machines, or `expected` has a signature that this key
    /// did not make.
    pub fn new(source: impl Read + 'a, expected: Expected<'a>) -> Result<Self, ImageError> {
        let mut file = Shared(Rc::new(RefCell::new(hashed(Box::new(source), &expected)?)));
        let mut magic = Vec::new();
        file.by_ref().take(MAGIC as u64).read_to_end(&mut magic).map_err(ImageError::Read)?;
        let decoder = decoder(&magic.clone(), Cursor::new(magic).chain(file.clone()))?;
        let disk = expected.disk.map(|_| Sha256::new());
        Ok(Self { decoder, file, disk, expected })
    }

    /// Reads what is left of the file and compares it with what is expected. `chunks` is the
    /// [`ChunkedDigest`](release::ChunkedDigest) of what was read.
    ///
    /// # Errors
    /// It is not the expected one.
    pub fn verify(self, chunks: &Digest) -> Result<(), ImageError> {
        let Self { mut decoder, file, disk, expected } = self;
        // A compressed disk ends before its file does, by a checksum that the decoder did not have to read.
        io::copy(&mut decoder, &mut io::sink()).map_err(ImageError::Read)?;
        drop(decoder);
        let mut file = file.0.borrow_mut();
        io::copy(&mut *file, &mut io::sink()).map_err(ImageError::Read)?;
        compare(&mut file, &expected)?;
        check_chunks(chunks, &expected)?;
        if let (Some(hasher), Some(expected)) = (disk, expected.disk) {
            let actual = Digest::from_hasher(hasher);
            if actual != expected {
                return Err(ImageError::DiskDigest { actual, expected });
            }
        }
        Ok(())
    }
}

impl Read for ImageStream<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.decoder.read(into)?;
        if let Some(disk) = &mut self.disk {
            disk.update(into.get(..read).unwrap_or_default());
        }
        Ok(read)
    }
}

/// Compares a file with the expected digest and signature, without decoding it: the chunks are the file's.
///
/// # Errors
/// It is not the expected one.
pub fn verify_file(file: &File, expected: &Expected<'_>) -> Result<(), ImageError> {
    if expected.chunks.is_some() {
        check_chunks(&disk_formats::chunks::digest(file).map_err(ImageError::Read)?, expected)?;
        if expected.file.is_none() && expected.signature.is_none() {
            return Ok(());
        }
    }
    let mut file = hashed(Box::new(file), expected)?;
    let mut buffer = vec![0; BUFFER];
    while file.read(&mut buffer).map_err(ImageError::Read)? > 0 {}
    compare(&mut file, expected)
}

/// Whether a file is a disk as it is, by its partition table: not compressed, nor in another encoding.
///
/// # Errors
/// The file cannot be read.
pub fn is_raw(file: &File) -> io::Result<bool> {
    let mut signature = [0; GPT.len()];
    match file.read_exact_at(&mut signature, GPT_OFFSET) {
        Ok(()) => Ok(signature == *GPT),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_chunks(actual: &Digest, expected: &Expected<'_>) -> Result<(), ImageError> {
    match expected.chunks {
        Some(expected) if expected != *actual => Err(ImageError::Chunks { actual: *actual, expected }),
        _ => Ok(()),
    }
}

fn hashed<'a>(source: Box<dyn Read + 'a>, expected: &Expected<'a>) -> Result<HashedFile<'a>, ImageError> {
    let verifier = expected.signature.map(|(key, signature)| key.verify_stream(signature));
    let signature = verifier.transpose().map_err(|error| ImageError::Signature(error.to_string()))?;
    Ok(HashedFile { source, digest: expected.file.map(|_| Sha256::new()), signature })
}

fn compare(file: &mut HashedFile<'_>, expected: &Expected<'_>) -> Result<(), ImageError> {
    if let (Some(hasher), Some(expected)) = (file.digest.take(), expected.file) {
        let actual = Digest::from_hasher(hasher);
        if actual != expected {
            return Err(ImageError::FileDigest { actual, expected });
        }
    }
    match &mut file.signature {
        Some(signature) => signature.finalize().map_err(|error| ImageError::Signature(error.to_string())),
        None => Ok(()),
    }
}

fn decoder<'a>(magic: &[u8], file: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    let refused = |encoding, command| Err(ImageError::Encoding { encoding, command });
    let to_raw = "qemu-img convert -O raw IMAGE IMAGE.raw";
    match magic {
        [0x1f, 0x8b, 8, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(file))),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => Ok(Box::new(bzip2::read::MultiBzDecoder::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Ok(Box::new(zstd::stream::read::Decoder::new(file).map_err(ImageError::Read)?))
        }
        [b'Q', b'F', b'I', 0xfb, ..] => refused("in qcow2 format", to_raw),
        [b'K', b'D', b'M', b'V', ..] => refused("in VMDK format", to_raw),
        b"vhdxfile" => refused("in VHDX format", to_raw),
        [b'<', b'<', b'<', ..] => refused("in VDI format", to_raw),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => refused("compressed with xz", "xz -d IMAGE"),
        _ => Ok(Box::new(file)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const DISK: &[u8] = b"a disk of many bytes, many bytes, many bytes";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn read(file: &[u8], expected: Expected<'_>) -> Result<Vec<u8>, ImageError> {
        let mut stream = ImageStream::new(file, expected)?;
        let mut disk = Vec::new();
        stream.read_to_end(&mut disk).map_err(ImageError::Read)?;
        stream.verify(&Digest::of(&disk)).map(|()| disk)
    }

    #[test]
    fn encodings_are_detected_by_content() {
        let twice = [gzip(&DISK[..10]), gzip(&DISK[10..])].concat();
        let zstd = zstd::encode_all(DISK, 1).unwrap();
        for file in [DISK.to_vec(), gzip(DISK), bzip2(DISK), zstd, twice] {
            let expected = Expected {
                file: Some(Digest::of(&file)),
                disk: Some(Digest::of(DISK)),
                ..Expected::default()
            };
            assert_eq!(read(&file, expected).unwrap(), DISK);
        }
        // Shorter than the first bytes of any encoding.
        assert_eq!(read(b"QF", Expected::default()).unwrap(), b"QF");
    }

    #[test]
    fn other_encodings_are_refused_with_the_command_that_converts_them() {
        let check = |file: &[u8], expected: &str| {
            let refused = read(file, Expected::default()).unwrap_err().to_string();
            assert_eq!(refused, expected);
        };
        let convert = "convert it first: qemu-img convert -O raw IMAGE IMAGE.raw";
        check(b"QFI\xfb....", &format!("the image is in qcow2 format; {convert}"));
        check(b"KDMV....", &format!("the image is in VMDK format; {convert}"));
        check(b"vhdxfile", &format!("the image is in VHDX format; {convert}"));
        check(b"<<< Oracle VM VirtualBox Disk Image >>>", &format!("the image is in VDI format; {convert}"));
        check(b"\xfd7zXZ\0..", "the image is compressed with xz; convert it first: xz -d IMAGE");
    }

    #[test]
    fn every_changed_byte_is_found() {
        let file = gzip(DISK);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            let expected = Expected { file: Some(Digest::of(&file)), ..Expected::default() };
            assert!(read(&changed, expected).is_err(), "{at}");
        }
        let disk = Expected { disk: Some(Digest::of(DISK)), ..Expected::default() };
        assert!(matches!(read(&gzip(&DISK[1..]), disk), Err(ImageError::DiskDigest { .. })));
        // The caller computes the digest of the chunks; here it is that of the disk.
        let chunks = Expected { chunks: Some(Digest::of(DISK)), ..Expected::default() };
        assert_eq!(read(&file, chunks.clone()).unwrap(), DISK);
        assert!(matches!(read(&gzip(&DISK[1..]), chunks), Err(ImageError::Chunks { .. })));
        // Bytes after the end of the compressed disk are of the file, too.
        let longer = [&*file, b"x"].concat();
        let expected = Expected { file: Some(Digest::of(&file)), ..Expected::default() };
        assert!(read(&longer, expected).is_err());
    }

    #[test]
    fn signatures_are_verified_by_the_key() {
        let keys = ["a", "b"].map(|_| minisign::KeyPair::generate_unencrypted_keypair().unwrap());
        let sign = |text: &[u8]| {
            let signed = minisign::sign(None, &keys[0].sk, text, None, None).unwrap();
            Signature::decode(&signed.to_string()).unwrap()
        };
        let public = keys.each_ref().map(|keys| PublicKey::from_base64(&keys.pk.to_base64()).unwrap());
        let check = |key: &PublicKey, signed: &[u8], file: &[u8]| {
            let signature = sign(signed);
            let expected = Expected { signature: Some((key, &signature)), ..Expected::default() };
            let mut on_disk = tempfile::tempfile().unwrap();
            on_disk.write_all(file).unwrap();
            io::Seek::rewind(&mut on_disk).unwrap();
            let streamed = read(file, expected.clone()).is_ok();
            assert_eq!(verify_file(&on_disk, &expected).is_ok(), streamed);
            streamed
        };
        assert!(check(&public[0], DISK, DISK));
        assert!(!check(&public[1], DISK, DISK));
        assert!(!check(&public[0], DISK, &DISK[1..]));
    }
}
