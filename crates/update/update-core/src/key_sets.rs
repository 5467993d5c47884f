//! Whether a newer set of keys takes the place of the one that counts now (the contract's 5.1, keys).
//!
//! As a chain: each set is signed by enough root keys of the set before it, and by enough of its own, so that nobody
//! names root keys that cannot sign. Only a whole chain is taken, or nothing of it.

use release::{FileName, KeySet, MetadataError, SignatureError};

/// Most sets that are followed at a time.
pub const MAX_STEPS: usize = 64;

/// A set as it is handed over, not believed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `keys.json`.
    pub bytes: Vec<u8>,
    /// Texts of `.sig` files, one behind the other.
    pub signatures: String,
}

/// What the machine knows of the time, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    pub now: u64,
    /// Of the running image: a clock before it is wrong, and expiry is not judged by it.
    pub build_time: u64,
}

impl Clock {
    #[must_use]
    pub fn is_wrong(self) -> bool {
        self.now < self.build_time
    }
}

/// Why a set is not taken. What counted before counts on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetRefusal {
    #[error("the signatures of key set {epoch}: {why}")]
    Signature { epoch: u64, why: SignatureError },
    #[error("key set {epoch} wants {wanted} root keys of set {of} that signed it, and has {}", names(.found))]
    TooFew { epoch: u64, of: u64, wanted: usize, found: Vec<FileName> },
    #[error("key set {expected}: {why}")]
    Metadata { expected: u64, why: MetadataError },
    #[error("behind key set {} comes {expected}, and this is {found}", expected - 1)]
    Epoch { found: u64, expected: u64 },
    #[error("key set {epoch} counted until {expires} (seconds since 1970)")]
    Expired { epoch: u64, expires: u64 },
    #[error("{0} key sets at once are too many: {MAX_STEPS} are the most")]
    TooMany(usize),
    #[error("there is no set behind the last number")]
    End,
}

fn names(found: &[FileName]) -> String {
    match found {
        [] => "none".to_owned(),
        found => found.iter().map(FileName::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// The set that counts when `trusted` did and these follow it. Where there are none, `trusted`, and nothing is judged.
///
/// # Errors
/// Any of them is not what it should be, or the last is out of date: one in between may be, a machine may have slept.
pub fn follow(trusted: &KeySet, steps: &[Step], clock: Clock) -> Result<KeySet, SetRefusal> {
    if steps.len() > MAX_STEPS {
        return Err(SetRefusal::TooMany(steps.len()));
    }
    let mut last = trusted.clone();
    for step in steps {
        last = next(&last, step)?;
    }
    if !steps.is_empty() && !clock.is_wrong() && clock.now > last.expires {
        return Err(SetRefusal::Expired { epoch: last.epoch, expires: last.expires });
    }
    Ok(last)
}

/// One step. Nothing of the new set is read before enough keys of the old one signed it.
fn next(trusted: &KeySet, step: &Step) -> Result<KeySet, SetRefusal> {
    let expected = trusted.epoch.checked_add(1).ok_or(SetRefusal::End)?;
    enough(trusted, step, expected)?;
    let set = KeySet::parse(&step.bytes).map_err(|why| SetRefusal::Metadata { expected, why })?;
    if set.epoch != expected {
        return Err(SetRefusal::Epoch { found: set.epoch, expected });
    }
    enough(&set, step, expected)?;
    Ok(set)
}

fn enough(of: &KeySet, step: &Step, epoch: u64) -> Result<(), SetRefusal> {
    let found = of.signed_by(&step.bytes, &step.signatures);
    let found = found.map_err(|why| SetRefusal::Signature { epoch, why })?;
    if found.len() < of.threshold {
        let found = found.into_iter().cloned().collect();
        return Err(SetRefusal::TooFew { epoch, of: of.epoch, wanted: of.threshold, found });
    }
    Ok(())
}

/// The one that counts, of the image's and the one that was followed to: the image's where both are as new, as that
/// is verified at each read.
#[must_use]
pub fn newer(image: Option<KeySet>, followed: Option<KeySet>) -> Option<KeySet> {
    match (image, followed) {
        (Some(image), Some(followed)) => Some(if followed.epoch > image.epoch { followed } else { image }),
        (image, followed) => image.or(followed),
    }
}

#[cfg(test)]
mod tests;
