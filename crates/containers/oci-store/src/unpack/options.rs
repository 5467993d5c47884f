//! How an image is unpacked.

/// Owners of unpacked files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Those of the image, with capabilities of programs. Needs root.
    Image,
    /// The calling user. Folders are writable to it; capabilities of programs are left out.
    Caller,
}

/// What happens to device nodes in an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceNodes {
    /// The image is refused.
    Refuse,
    /// They are left out: a container has its own `/dev`.
    Skip,
    /// They are created. Needs root.
    Create,
}

/// Limits of an unpacked image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files, folders and links.
    pub entries: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 2_000_000 }
    }
}

/// How an image is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Owners of files.
    pub owners: Owners,
    /// Device nodes.
    pub devices: DeviceNodes,
    /// Limits.
    pub limits: UnpackLimits,
}
