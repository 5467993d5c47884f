//! Secure Boot check: never activates a version that the firmware would not start.
//!
//! The boot loader cannot fall back from that: systemd-boot counts a try, but the firmware stops with an error.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use disk_slots::secure_boot::{AllowedSigners, SignatureStatus};

use crate::error::{Failure, Kind, code};
use crate::fill::Targets;
use crate::paths::Paths;

/// Bytes of attributes before a variable's content in efivarfs.
const ATTRIBUTES: usize = 4;

/// Rejects a boot image whose signer the firmware does not know, if it knows that of the running one.
pub fn check(paths: &Paths, targets: &Targets<'_>) -> Result<(), Failure> {
    let (Some(signers), Some(old)) = (enforced_signers(paths), targets.old) else { return Ok(()) };
    let running = signature_status(&signers, old.uki);
    if !matches!(running, Ok(SignatureStatus::Allowed)) {
        // The firmware started it, so it knows more than this code, for example a certificate authority.
        tracing::warn!(found = ?running, "cannot check whether Secure Boot allows the new version");
        return Ok(());
    }
    let why = match signature_status(&signers, targets.uki) {
        Ok(SignatureStatus::Allowed) => return Ok(()),
        Ok(SignatureStatus::Unsigned) => "is not signed".to_owned(),
        Ok(SignatureStatus::Changed) => "was modified after it was signed".to_owned(),
        Ok(SignatureStatus::Unknown) => "is not signed by a key that the firmware trusts".to_owned(),
        Err(error) => format!("cannot be read ({error})"),
    };
    let message = format!("Secure Boot is enabled and would reject this version: its boot image {why}");
    Err(Failure::text(Kind::Rejected, code::KERNEL_DEVICE, message))
}

/// The firmware's allowed signers, if Secure Boot is enabled.
fn enforced_signers(paths: &Paths) -> Option<AllowedSigners> {
    if variable(&paths.secure_boot())? != [1] {
        return None;
    }
    let known = variable(&paths.allowed_signers());
    if known.is_none() {
        tracing::warn!("Secure Boot is enabled, but the firmware's trusted keys cannot be read");
    }
    known.map(|lists| AllowedSigners::read(&lists))
}

/// A variable's content; `None` if it does not exist.
fn variable(path: &Path) -> Option<Vec<u8>> {
    let mut content = fs::read(path).ok()?;
    (content.len() >= ATTRIBUTES).then(|| content.split_off(ATTRIBUTES))
}

fn signature_status(signers: &AllowedSigners, image: &Path) -> io::Result<SignatureStatus> {
    signers.check(&mut File::open(image)?)
}
