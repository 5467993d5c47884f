//! Secure Boot check: never activates a version that the firmware would not start.
//!
//! The boot loader cannot fall back from that: systemd-boot counts a try, but the firmware stops with an error.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use disk_slots::signed::{Finding, Signers};

use crate::error::{Failure, Kind, code};
use crate::fill::Targets;
use crate::places::Places;

/// Bytes of attributes before a variable's content in efivarfs.
const ATTRIBUTES: usize = 4;

/// Rejects a boot image whose signer the firmware does not know, if it knows that of the running one.
pub fn check(places: &Places, targets: &Targets<'_>) -> Result<(), Failure> {
    let (Some(signers), Some(old)) = (enforced(places), targets.old) else { return Ok(()) };
    let running = find(&signers, old.uki);
    if !matches!(running, Ok(Finding::Known)) {
        // The firmware started it, so it knows more than this code, for example a certificate authority.
        tracing::warn!(found = ?running, "whether Secure Boot lets the new version start is not known here");
        return Ok(());
    }
    let why = match find(&signers, targets.uki) {
        Ok(Finding::Known) => return Ok(()),
        Ok(Finding::Unsigned) => "is not signed".to_owned(),
        Ok(Finding::Changed) => "was changed after it was signed".to_owned(),
        Ok(Finding::Unknown) => "is signed by nobody whom the firmware knows".to_owned(),
        Err(error) => format!("cannot be read ({error})"),
    };
    let message = format!("Secure Boot is on, and would not start this version: its boot image {why}");
    Err(Failure::text(Kind::Refused, code::KERNEL_DEVICE, message))
}

/// The firmware's allowed signers, if Secure Boot is enabled.
fn enforced(places: &Places) -> Option<Signers> {
    if variable(&places.secure_boot())? != [1] {
        return None;
    }
    let known = variable(&places.known_signers());
    if known.is_none() {
        tracing::warn!("Secure Boot is on, and whom the firmware knows cannot be read");
    }
    known.map(|lists| Signers::read(&lists))
}

/// A variable's content; `None` if it does not exist.
fn variable(path: &Path) -> Option<Vec<u8>> {
    let mut content = fs::read(path).ok()?;
    (content.len() >= ATTRIBUTES).then(|| content.split_off(ATTRIBUTES))
}

fn find(signers: &Signers, image: &Path) -> io::Result<Finding> {
    signers.find(&mut File::open(image)?)
}
