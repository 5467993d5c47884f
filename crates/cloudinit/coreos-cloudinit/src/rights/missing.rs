//! Restrictions that the kernel lacks. Not fatal: a machine must not stay unconfigured for them.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use host::{Root, files};
use service::error::chain;

use crate::log::Log;
use crate::state_file;

/// Exists if a run warned since boot.
const WARNED_PATH: &str = "/run/coreos-cloudinit/unrestricted";

/// What reading threads of this process can do beyond reading, each with its reason.
static UNRESTRICTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// `can` is the end of a sentence.
pub(super) fn record(can: String, log: &Log) {
    let message = sentence(&can);
    if unrestricted().insert(can) {
        log.debug(message);
    }
}

/// Warns in the journal once per boot. Nowhere else: the messages on a terminal are the original's.
pub fn warn_once_per_boot(root: &Root, log: &Log) {
    let unrestricted = unrestricted().clone();
    let warned = || files::status(root, WARNED_PATH).is_ok_and(|status| status.is_some());
    if !log.is_journal() || unrestricted.is_empty() || warned() {
        return;
    }
    for can in &unrestricted {
        log.warning(sentence(can));
    }
    if let Err(error) = state_file::write_volatile(root, WARNED_PATH, b"") {
        log.warning(format!("Recording this warning failed, the next run repeats it: {}", chain(&error)));
    }
}

fn sentence(can: &str) -> String {
    format!("Threads that read user-data can {can}")
}

fn unrestricted() -> MutexGuard<'static, BTreeSet<String>> {
    UNRESTRICTED.lock().unwrap_or_else(PoisonError::into_inner)
}
