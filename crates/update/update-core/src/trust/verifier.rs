//! Verification of single files.

use release::{Keys, SignatureError, Timestamp, files::TIMESTAMP};

use super::facts::{ActiveRoot, RoleKeys, TrustAnchors, VerifyContext, VerifyError};

/// Seconds that a timestamp may be issued after this machine's time: clocks differ.
const MAX_CLOCK_DIFFERENCE: u64 = 86_400;

/// Verifies files by the trusted keys and this machine's time.
pub(super) struct Verifier<'a> {
    authorities: &'a TrustAnchors,
    /// With the state that is valid under the root in force.
    pub(super) context: VerifyContext<'a>,
}

impl<'a> Verifier<'a> {
    pub(super) fn new(authorities: &'a TrustAnchors, context: &VerifyContext<'a>) -> Self {
        let root = authorities.root.map_or(0, |root| root.version);
        let state = context.state.valid_under(root);
        Self { authorities, context: VerifyContext { state, ..context.clone() } }
    }

    pub(super) fn clock_is_wrong(&self) -> bool {
        self.context.now < self.context.build_time
    }

    /// `None` if the clock is wrong.
    pub(super) fn time(&self) -> Option<u64> {
        (!self.clock_is_wrong()).then_some(self.context.now)
    }

    pub(super) fn check_signature(
        &self,
        file: &'static str,
        role: fn(&RoleKeys) -> &Keys,
        bytes: &[u8],
        signature: &str,
    ) -> Result<(), VerifyError> {
        let by = verify_any(self.authorities, role, bytes, signature);
        match by.map_err(|why| VerifyError::Signature { file, why })? {
            KeySource::Local => Ok(()),
            KeySource::Vendor => check_root(self.authorities.root, self.context.state.root, self.time()),
        }
    }

    pub(super) fn timestamp(&self, bytes: &[u8], signature: &str) -> Result<Timestamp, VerifyError> {
        self.check_signature(TIMESTAMP, |roles| &roles.channel, bytes, signature)?;
        let timestamp = Timestamp::parse(bytes)?;
        let Timestamp { issued, expires, .. } = timestamp;
        if timestamp.channel != self.context.channel {
            let (found, wanted) = (timestamp.channel, self.context.channel.to_owned());
            return Err(VerifyError::WrongChannel { found, wanted });
        }
        let recorded = self.floor();
        if issued < recorded {
            return Err(VerifyError::Replayed { issued, recorded });
        }
        match self.time() {
            Some(now) if issued > now.saturating_add(MAX_CLOCK_DIFFERENCE) => {
                Err(VerifyError::FromFuture { issued, now })
            }
            Some(now) if now > expires => Err(VerifyError::Stale(expires)),
            _ => Ok(timestamp),
        }
    }

    /// The floor against replay. One in the future does not count: an older version of this program recorded a wrong
    /// time.
    fn floor(&self) -> u64 {
        let recorded = self.context.state.issued;
        match self.time() {
            Some(now) if recorded > now.saturating_add(MAX_CLOCK_DIFFERENCE) => 0,
            _ => recorded,
        }
    }

    /// The next floor. A wrong clock does not change it: a stolen key may have signed any time.
    pub(super) fn latest_issued(&self, timestamp: &Timestamp) -> u64 {
        if self.clock_is_wrong() { self.context.state.issued } else { self.floor().max(timestamp.issued) }
    }
}

/// Where the key comes from.
enum KeySource {
    Local,
    Vendor,
}

fn verify_any(
    authorities: &TrustAnchors,
    kind: fn(&RoleKeys) -> &Keys,
    bytes: &[u8],
    signature: &str,
) -> Result<KeySource, SignatureError> {
    let [local, vendor] = [kind(&authorities.local), kind(&authorities.vendor)];
    match local.verify(bytes, signature) {
        Ok(_) => Ok(KeySource::Local),
        Err(SignatureError::NotTrusted) if vendor.is_empty() => Err(SignatureError::NotTrusted),
        Err(_) => vendor.verify(bytes, signature).map(|_| KeySource::Vendor),
    }
}

/// Checks that the root is neither lost nor expired. `now`: `None` if unknown.
fn check_root(root: Option<ActiveRoot>, recorded: u64, now: Option<u64>) -> Result<(), VerifyError> {
    let known = root.map_or(0, |root| root.version);
    if known < recorded {
        return Err(VerifyError::RootLost { recorded, known });
    }
    match (root, now) {
        (Some(ActiveRoot { version, expires }), Some(now)) if now >= expires => {
            Err(VerifyError::RootExpired { version, expires })
        }
        _ => Ok(()),
    }
}
