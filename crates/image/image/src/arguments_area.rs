//! The end of a boot loader's configuration file, which is reserved for further kernel arguments: comments in a fixed
//! number of bytes, so that a change moves nothing on the medium.

/// Bytes of the area, which ends with the file.
pub const BYTES: usize = 1024;

/// The area without arguments.
pub fn blank() -> String {
    format!("{:#>1$}\n", "", BYTES - 1)
}
