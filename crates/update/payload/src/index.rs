//! The index of a payload: which frame of the blob contains which segment of which image.
//!
//! JSON in canonical form, as [`Index::to_bytes`] writes it. [`Index::parse`] rejects an index with overlaps, gaps or
//! values beyond the limits.
//!
//! ```json
//! {"schema":2,"kind":"delta","segment_size":16777216,"blob_size":1234,"images":[{"role":"usr","size":617492480,
//!   "sha256":"...","old":{"size":617488384,"sha256":"..."},"segments":[{"offset":0,"length":16777216,"sha256":"...",
//!   "blob_offset":0,"blob_length":1234,"blob_sha256":"...","old":{"offset":0,"length":33554432,"sha256":"..."}}]}]}
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::limits::{
    MAX_IMAGE_BYTES, MAX_IMAGES, MAX_INDEX_BYTES, MAX_OLD_BYTES, MAX_ROLE_BYTES, MIN_SEGMENT_BYTES,
    SEGMENT_BYTES,
};
use release::Digest;

/// The supported schema.
const SCHEMA: u32 = 2;

/// What a payload requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Requires the blob only.
    Full,
    /// Requires the images of one older version, too.
    Delta,
}

/// Sizes, offsets and lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    schema: u32,
    /// In a full payload, no image has an `old` one.
    pub kind: Kind,
    /// Size of all segments except the last one of an image.
    pub segment_size: u32,
    /// Size of the file with all frames.
    pub blob_size: u64,
    /// In the order of their frames.
    pub images: Vec<Image>,
}

/// A resulting image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// `usr`, `uki`: lower-case letters, digits and `-`.
    pub role: String,
    /// The end of the last segment.
    pub size: u64,
    /// Of the complete image.
    pub sha256: Digest,
    /// In a delta: the image that its segments are based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<OldImage>,
    /// Contiguous from 0.
    pub segments: Vec<Segment>,
}

/// The image that a delta starts from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OldImage {
    /// The end of the ranges that may be read.
    pub size: u64,
    /// Of the complete image.
    pub sha256: Digest,
}

/// A segment and its frame.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// In the image.
    pub offset: u64,
    /// Unpacked.
    pub length: u32,
    /// Of the unpacked segment.
    pub sha256: Digest,
    /// Start of the frame in the blob.
    pub blob_offset: u64,
    /// Compressed.
    pub blob_length: u32,
    /// Of the frame, verified before it is unpacked.
    pub blob_sha256: Digest,
    /// The range of the old image that the frame is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<OldRange>,
}

/// A part of the old image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OldRange {
    /// In the old image.
    pub offset: u64,
    /// May differ from the segment's.
    pub length: u32,
    /// Of the range, verified if the segment is not the expected one.
    pub sha256: Digest,
}

/// Why an index is rejected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum IndexError {
    #[error("the index has {0} bytes, more than {MAX_INDEX_BYTES}")]
    TooLong(usize),
    #[error("cannot parse the index")]
    Syntax(#[source] serde_json::Error),
    #[error("the index has schema {0}, supported is {SCHEMA}")]
    Schema(u32),
    #[error("the index is not in canonical form")]
    Form,
    #[error("the index is inconsistent: {0}")]
    Content(String),
}

impl Index {
    /// For packing: valid by construction.
    pub(crate) fn new(kind: Kind, segment_size: u32, blob_size: u64, images: Vec<Image>) -> Self {
        Self { schema: SCHEMA, kind, segment_size, blob_size, images }
    }

    /// Parses and checks an index whose digest the caller has verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, IndexError> {
        if bytes.len() > MAX_INDEX_BYTES {
            return Err(IndexError::TooLong(bytes.len()));
        }
        let index: Self = serde_json::from_slice(bytes).map_err(IndexError::Syntax)?;
        if index.schema != SCHEMA {
            return Err(IndexError::Schema(index.schema));
        }
        index.check()?;
        // Rejects other encodings that serde accepts: structs as arrays, other orders, spaces.
        if index.to_bytes() != bytes {
            return Err(IndexError::Form);
        }
        Ok(index)
    }

    /// The canonical form, which is the only one that [`Index::parse`] accepts.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // invariant: numbers, strings and lists always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The image with this role.
    #[must_use]
    pub fn image(&self, role: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.role == role)
    }

    /// Total size of all images in bytes.
    #[must_use]
    pub fn output_size(&self) -> u64 {
        self.images.iter().map(|image| image.size).sum()
    }

    /// Checks that nothing overlaps, nothing is missing and all ranges are within bounds.
    pub(crate) fn check(&self) -> Result<(), IndexError> {
        self.check_images()?;
        let mut blob_end = 0;
        for image in &self.images {
            blob_end = self.check_segments(image, blob_end)?;
        }
        if blob_end == self.blob_size {
            Ok(())
        } else {
            invalid(format!("frames of {blob_end} bytes in a blob of {}", self.blob_size))
        }
    }

    /// Checks everything except the segments.
    pub(crate) fn check_images(&self) -> Result<(), IndexError> {
        let segments = MIN_SEGMENT_BYTES..=SEGMENT_BYTES;
        let size = self.segment_size;
        if !segments.contains(&size) || !size.is_multiple_of(MIN_SEGMENT_BYTES) {
            return invalid(format!("segments of {size} bytes"));
        }
        if self.images.is_empty() || self.images.len() > MAX_IMAGES {
            return invalid(format!("{} images", self.images.len()));
        }
        let mut roles = BTreeSet::new();
        for image in &self.images {
            if !roles.insert(&image.role) {
                return invalid(format!("two images {:?}", image.role));
            }
            self.check_image(image)?;
        }
        Ok(())
    }

    fn check_image(&self, image: &Image) -> Result<(), IndexError> {
        let role = &image.role;
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if role.is_empty() || role.len() > MAX_ROLE_BYTES || !role.bytes().all(is_allowed) {
            return invalid(format!("an image with the name {role:?}"));
        }
        if image.size == 0 || image.size > MAX_IMAGE_BYTES {
            return invalid(format!("{role} of {} bytes", image.size));
        }
        if image.old.as_ref().is_some_and(|old| self.kind == Kind::Full || old.size > MAX_IMAGE_BYTES) {
            return invalid(format!("{role} has an old image"));
        }
        Ok(())
    }

    /// Returns the end of the image's frames in the blob.
    fn check_segments(&self, image: &Image, mut blob_end: u64) -> Result<u64, IndexError> {
        let role = &image.role;
        let mut end = 0_u64;
        for segment in &image.segments {
            // No overflow: `end` is at most the image's size, and `blob_end` the sum of bounded frames.
            let wanted = u64::from(self.segment_size).min(image.size - end);
            if segment.offset != end || u64::from(segment.length) != wanted || wanted == 0 {
                return invalid(format!(
                    "{role} has at {end} a segment of {}+{}",
                    segment.offset, segment.length
                ));
            }
            let max_frame = zstd::zstd_safe::compress_bound(segment.length as usize);
            if segment.blob_offset != blob_end
                || segment.blob_length == 0
                || segment.blob_length as usize > max_frame
            {
                return invalid(format!(
                    "{role} has at {end} a frame of {}+{} behind {blob_end}",
                    segment.blob_offset, segment.blob_length
                ));
            }
            if let Some(range) = &segment.old {
                let old = image.old.as_ref().map_or(0, |old| old.size);
                let is_within = range.offset.checked_add(range.length.into()).is_some_and(|end| end <= old);
                if !is_within || range.length == 0 || range.length > MAX_OLD_BYTES {
                    return invalid(format!(
                        "{role} refers at {end} to {}+{} of the old image",
                        range.offset, range.length
                    ));
                }
            }
            end += wanted;
            blob_end += u64::from(segment.blob_length);
        }
        if end == image.size { Ok(blob_end) } else { invalid(format!("{role} ends at {end}")) }
    }
}

fn invalid<T>(what: String) -> Result<T, IndexError> {
    Err(IndexError::Content(what))
}
