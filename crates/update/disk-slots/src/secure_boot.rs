//! Checks whether the firmware's Secure Boot database allows a boot image.
//!
//! Only the firmware verifies the signature, and releases have their own one. This code predicts whether the firmware
//! can accept an image, because the boot loader cannot fall back from one that it rejects. It verifies no signature
//! and must never replace such a check.

use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest as _, Sha256};

/// Maximum size of all headers of a boot image.
const HEADERS: u64 = 4096;
/// Maximum size of all signatures of an image.
const SIGNATURES_MAX: u64 = 1 << 20;
/// Read buffer size.
const CHUNK: usize = 1 << 16;
/// `EFI_CERT_X509_GUID` in on-disk order.
const X509: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// `EFI_CERT_SHA256_GUID`: identifies an image by its digest.
const SHA256: [u8; 16] =
    [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS_SIGNED_DATA: u16 = 2;

/// Result of the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureStatus {
    /// Without a signature.
    Unsigned,
    /// Modified after signing.
    Changed,
    /// Signed by an unknown signer.
    Unknown,
    /// By a signer of the firmware's database.
    Allowed,
}

/// The firmware's variable `db` (UEFI 2.10, 32.4.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    /// DER.
    certificates: Vec<Vec<u8>>,
    digests: Vec<[u8; 32]>,
}

impl AllowedSigners {
    /// `lists` is a sequence of `EFI_SIGNATURE_LIST`. Ends at the first malformed list; ignores unknown types.
    #[must_use]
    pub fn read(mut lists: &[u8]) -> Self {
        let mut signers = Self::default();
        while let Some(((kind, entries), rest)) = first_list(lists) {
            for entry in entries {
                match (kind, <[u8; 32]>::try_from(entry)) {
                    (X509, _) => signers.certificates.push(entry.to_vec()),
                    (SHA256, Ok(digest)) => signers.digests.push(digest),
                    _ => {}
                }
            }
            lists = rest;
        }
        signers
    }

    /// Checks a boot image.
    pub fn check(&self, image: &mut (impl Read + Seek)) -> io::Result<SignatureStatus> {
        let layout = Layout::read(image)?;
        let digest = layout.digest(image)?;
        if self.digests.contains(&digest) {
            return Ok(SignatureStatus::Allowed);
        }
        let signatures = layout.signatures(image)?;
        if signatures.is_empty() {
            return Ok(SignatureStatus::Unsigned);
        }
        let contains =
            |signature: &[u8], wanted: &[u8]| signature.windows(wanted.len()).any(|part| part == wanted);
        let whole: Vec<_> = signatures.iter().filter(|signature| contains(signature, &digest)).collect();
        if whole.is_empty() {
            return Ok(SignatureStatus::Changed);
        }
        let known =
            self.certificates.iter().any(|known| whole.iter().any(|signature| contains(signature, known)));
        Ok(if known { SignatureStatus::Allowed } else { SignatureStatus::Unknown })
    }
}

/// A signature list: its type, and its entries without owners.
type List<'a> = ([u8; 16], Vec<&'a [u8]>);

/// The first signature list, and the rest.
fn first_list(lists: &[u8]) -> Option<(List<'_>, &[u8])> {
    let kind = <[u8; 16]>::try_from(lists.get(..16)?).ok()?;
    let [size, header, entry] =
        [16, 20, 24].map(|at| number(lists, at).and_then(|n| usize::try_from(n).ok()));
    let (list, rest) = lists.split_at_checked(size?)?;
    let entries = list.get(28_usize.checked_add(header?)?..)?;
    // Each entry begins with the GUID of its owner.
    let entry = entry.filter(|bytes| *bytes > 16)?;
    Some(((kind, entries.chunks_exact(entry).map(|entry| &entry[16..]).collect()), rest))
}

/// A little-endian 32-bit number.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// The ranges of a PE file that Authenticode hashes, in order.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    /// Offsets and lengths in bytes.
    hashed: Vec<(u64, u64)>,
    signatures: (u64, u64),
}

impl Layout {
    fn read(image: &mut (impl Read + Seek)) -> io::Result<Self> {
        let size = image.seek(SeekFrom::End(0))?;
        image.rewind()?;
        let mut headers = Vec::new();
        image.by_ref().take(HEADERS).read_to_end(&mut headers)?;
        Self::of(&headers, size).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a boot image"))
    }

    /// Order of the ranges: Authenticode PE, "Calculating the PE Image Hash".
    fn of(headers: &[u8], size: u64) -> Option<Self> {
        let pe = usize::try_from(number(headers, 0x3c)?).ok()?;
        let optional = pe.checked_add(24)?;
        let is_pe32_plus =
            headers.get(pe..pe + 4)? == b"PE\0\0" && headers.get(optional..optional + 2)? == [0x0b, 2];
        if !is_pe32_plus {
            return None;
        }
        let (checksum, directory) = (optional + 64, optional + 144);
        let end = u64::from(number(headers, optional + 60)?);
        let signatures = (u64::from(number(headers, directory)?), u64::from(number(headers, directory + 4)?));
        let (checksum, directory) = (u64::try_from(checksum).ok()?, u64::try_from(directory).ok()?);
        let mut hashed = vec![
            (0, checksum),
            (checksum + 4, directory.checked_sub(checksum + 4)?),
            (directory + 8, end.checked_sub(directory + 8)?),
        ];
        let count = usize::from(u16::from_le_bytes(headers.get(pe + 6..pe + 8)?.try_into().ok()?));
        let length = usize::from(u16::from_le_bytes(headers.get(pe + 20..pe + 22)?.try_into().ok()?));
        let mut sections = Vec::new();
        for section in (0..count).map(|index| optional + length + index * 40) {
            sections
                .push((u64::from(number(headers, section + 20)?), u64::from(number(headers, section + 16)?)));
        }
        sections.retain(|(_, length)| *length > 0);
        sections.sort_unstable();
        let sum = end + sections.iter().map(|(_, length)| length).sum::<u64>();
        hashed.extend(sections);
        // Data after all sections, except the signatures.
        let rest = size.checked_sub(sum)?.checked_sub(signatures.1)?;
        hashed.push((sum, rest));
        Some(Self { hashed, signatures })
    }

    fn digest(&self, image: &mut (impl Read + Seek)) -> io::Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        for (offset, length) in &self.hashed {
            image.seek(SeekFrom::Start(*offset))?;
            let mut left = *length;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                image.read_exact(&mut chunk[..part])?;
                hash.update(&chunk[..part]);
                left -= part as u64;
            }
        }
        Ok(hash.finalize().into())
    }

    /// The signatures, each a PKCS #7 message.
    fn signatures(&self, image: &mut (impl Read + Seek)) -> io::Result<Vec<Vec<u8>>> {
        let (offset, length) = self.signatures;
        image.seek(SeekFrom::Start(offset))?;
        let mut table = Vec::new();
        image.by_ref().take(length.min(SIGNATURES_MAX)).read_to_end(&mut table)?;
        let (mut found, mut rest) = (Vec::new(), &*table);
        while let Some(length) = number(rest, 0).and_then(|length| usize::try_from(length).ok()) {
            let Some(entry) = rest.get(8..length) else { break };
            if rest[6..8] == PKCS_SIGNED_DATA.to_le_bytes() {
                found.push(entry.to_vec());
            }
            rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const CERTIFICATE: &[u8] = b"a certificate, as far as this looks at it";

    /// A list of one type.
    fn list(kind: [u8; 16], entries: &[&[u8]]) -> Vec<u8> {
        let entry = 16 + entries[0].len();
        let mut list = kind.to_vec();
        for number in [28 + entry * entries.len(), 0, entry] {
            list.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        entries.iter().for_each(|entry| list.extend([&[9; 16][..], entry].concat()));
        list
    }

    /// Two sections, in another order than in the section table, and a trailing byte.
    fn unsigned() -> Vec<u8> {
        let mut image = vec![0; 0x200];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x3c, &0x40_u32.to_le_bytes());
        put(0x40, b"PE\0\0\x64\x86\x02\0");
        put(0x40 + 20, &240_u16.to_le_bytes());
        let optional = 0x58;
        put(optional, &[0x0b, 2]);
        put(optional + 60, &0x200_u32.to_le_bytes());
        put(optional + 64, b"sum!");
        for (index, (offset, length)) in [(0x210_u32, 8_u32), (0x200, 16)].into_iter().enumerate() {
            put(optional + 240 + index * 40 + 16, &length.to_le_bytes());
            put(optional + 240 + index * 40 + 20, &offset.to_le_bytes());
        }
        image.extend(b"first section...second..!");
        image
    }

    fn digest(image: &[u8]) -> [u8; 32] {
        let mut image = Cursor::new(image);
        Layout::read(&mut image).unwrap().digest(&mut image).unwrap()
    }

    fn with(signature: &[u8]) -> Vec<u8> {
        let mut image = unsigned();
        let length = u32::try_from(8 + signature.len()).unwrap();
        let at = u32::try_from(image.len()).unwrap();
        image.extend([&length.to_le_bytes()[..], &[0, 2, 2, 0], signature].concat());
        let directory = 0x58 + 144;
        image[directory..directory + 4].copy_from_slice(&at.to_le_bytes());
        image[directory + 4..directory + 8].copy_from_slice(&length.to_le_bytes());
        image
    }

    fn check(image: &[u8], db: &[u8], expect: SignatureStatus) {
        assert_eq!(AllowedSigners::read(db).check(&mut Cursor::new(image)).unwrap(), expect);
    }

    #[test]
    fn an_image_is_allowed_by_its_signer_or_its_digest() {
        let digest = digest(&unsigned());
        let (ours, other) = (list(X509, &[CERTIFICATE]), list(X509, &[b"another certificate"]));
        let signed = with(&[&b"der"[..], CERTIFICATE, &digest, b"der"].concat());
        check(&unsigned(), &ours, SignatureStatus::Unsigned);
        check(&signed, &ours, SignatureStatus::Allowed);
        check(&signed, &other, SignatureStatus::Unknown);
        check(&signed, &[], SignatureStatus::Unknown);
        check(&signed, &[other.clone(), ours.clone()].concat(), SignatureStatus::Allowed);
        check(&unsigned(), &[other, list(SHA256, &[&[1; 32], &digest])].concat(), SignatureStatus::Allowed);
        check(&with(&[CERTIFICATE, &[7; 32]].concat()), &ours, SignatureStatus::Changed);
    }

    #[test]
    fn the_digest_covers_all_but_checksum_and_signatures() {
        let (image, expect) = (unsigned(), digest(&unsigned()));
        let in_order = [&image[..0x98], &image[0x9c..0xe8], &image[0xf0..]].concat();
        assert_eq!(expect[..], Sha256::digest(in_order)[..], "by the place in the file");
        let signatures = 0x58 + 144..0x58 + 152;
        for at in (0..image.len()).filter(|at| !signatures.contains(at)) {
            let mut other = image.clone();
            other[at] ^= 1;
            let mut cursor = Cursor::new(&other);
            let found = Layout::read(&mut cursor).and_then(|layout| layout.digest(&mut cursor));
            let left_out = (0x58 + 64..0x58 + 68).contains(&at);
            assert_eq!(found.is_ok_and(|found| found == expect), left_out, "byte {at:#x}");
        }
        assert_eq!(digest(&with(b"whatever")), expect);
    }

    #[test]
    fn truncated_input_causes_no_panic() {
        let signed = with(&[CERTIFICATE, &digest(&unsigned())].concat());
        let db = [list(X509, &[CERTIFICATE]), list(SHA256, &[&[1; 32]])].concat();
        for length in 0..signed.len() {
            let found = AllowedSigners::read(&db).check(&mut Cursor::new(&signed[..length]));
            assert!(!found.is_ok_and(|found| found == SignatureStatus::Allowed), "{length} bytes");
        }
        for length in 0..db.len() {
            drop(AllowedSigners::read(&db[..length]));
        }
        let mut zero = db;
        zero[16..28].fill(0);
        assert_eq!(AllowedSigners::read(&zero), AllowedSigners::default());
    }
}
