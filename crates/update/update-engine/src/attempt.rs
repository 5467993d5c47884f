//! Attempts to update, and the other changes of the slots.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use omaha::{ErrorCode, Event, EventResult, EventType};
use release::{Digest, Release, Version};
use update_core::method;
use update_core::roots::Clock;
use update_core::slots::BootState;
use update_core::status::Operation;
use update_core::trust::{
    Ban, RootInForce, TrustState, UpdateOptions, VerifiedRelease, VerifyContext, VerifyError, verify_release,
};
use update_worker::Isolation;

use crate::error::{Failure, Kind, code};
use crate::fill::{Delivery, fill};
use crate::found::{Found, bundled_targets, fetch_release, listed_by_digest};
use crate::http::RetryPolicy;
use crate::identity::Identity;
use crate::observer::{Notify, Observer, ProgressReporter};
use crate::origin::Origin;
use crate::paths::Paths;
use crate::secure_boot;
use crate::settings::Settings;
use crate::slots::{Slots, plan_failed};
use crate::state::{Attempts, StateStore, remove_file, replace_file};
use crate::trust_store::{TrustStore, client, refused};

/// Result of a successful attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Updates are disabled; the reason.
    Disabled(String),
    /// No newer version, with the server's reason if it sent one.
    UpToDate(Option<String>),
    /// An update is available, and an operator holds updates.
    Held { version: String, reason: String },
    /// Installed; the reboot is pending.
    Installed { version: Version },
}

/// The update engine of one machine.
pub struct Updater {
    pub paths: Paths,
    pub identity: Identity,
    pub state: StateStore,
    pub retry: RetryPolicy,
    /// Where unverified bytes are received and unpacked.
    pub isolation: Isolation,
    /// Interval of progress reports to the server. Its grants expire after an hour by default.
    pub report_interval: Duration,
}

const REPORT_INTERVAL: Duration = Duration::from_secs(15 * 60);

impl Updater {
    pub fn new(paths: &Paths, retry: RetryPolicy, isolation: Isolation) -> Result<Self, Failure> {
        let identity =
            Identity::read(paths).map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))?;
        Ok(Self {
            paths: paths.clone(),
            identity,
            state: StateStore::new(paths),
            retry,
            isolation,
            report_interval: REPORT_INTERVAL,
        })
    }

    /// Installs from a folder or bundle, without a server.
    pub fn apply(
        &self,
        settings: &Settings,
        path: &Path,
        options: UpdateOptions,
        observer: &dyn Observer,
    ) -> Result<Outcome, Failure> {
        let origin = Origin::at_path(path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            Failure::text(Kind::Rejected, ErrorCode::DOWNLOAD_TRANSFER, message)
        })?;
        let store = TrustStore::open(&self.paths, settings)?;
        let clock = self.clock();
        let mut client = client(&origin, store, clock);
        let root = client.update_root().map_err(refused)?;
        let in_force = client.into_store().in_force();
        self.record_root(in_force)?;
        let targets = bundled_targets(&origin, &root, clock)?;
        let bytes = fetch_release(&origin)?;
        let listed = listed_by_digest(&targets, &bytes)?;
        let found = Found { bytes: &bytes, listed, channel: None, root: in_force };
        let accepted = self.verify_release(found, settings, options)?;
        self.install(&accepted, &origin, observer, &|_| {}, &|| Ok(()))
    }

    /// The slots and boot entries.
    pub fn inspect(&self) -> Result<BootState, Failure> {
        Slots::inspect(&self.paths, &self.identity.id)
    }

    /// Makes the other version the next one to boot, and bans the running one.
    pub fn roll_back(&self) -> Result<Version, Failure> {
        let mut slots = Slots::open(&self.paths, &self.identity.id)?;
        let (version, steps) = slots.boot_state.plan_rollback().map_err(plan_failed)?;
        let running = slots.boot_state.running_entry().map_err(plan_failed)?.clone();
        self.ban(&running.name.version, slots.boot_state.running, "rolled back by an operator")?;
        let lower = |state: &mut TrustState| state.version = Some(version.clone());
        self.state.update_trust_state(lower).map_err(state_failed)?;
        slots.change(&steps)?;
        self.mark_pending(&version, false)?;
        Ok(version)
    }

    /// Discards an update whose reboot is pending.
    pub fn discard_pending(&self) -> Result<(), Failure> {
        let mut slots = Slots::open(&self.paths, &self.identity.id)?;
        let steps = slots.boot_state.plan_discard_pending().map_err(plan_failed)?;
        slots.change(&steps)?;
        self.clear_pending()
    }

    /// No reboot is pending anymore, and the next boot reports neither success nor rollback.
    fn clear_pending(&self) -> Result<(), Failure> {
        remove_file(self.paths.completed()).map_err(state_failed)?;
        self.state.set_previous_version("").map_err(state_failed)
    }

    /// Records the running version as good if it is, and bans the versions without tries left. Returns the new bans.
    /// A version that was good before is only logged: its slot may be damaged, and an installation rewrites it.
    pub fn record_outcomes(&self) -> Result<Vec<Ban>, Failure> {
        let boot_state = self.inspect()?;
        self.record_good(&boot_state)?;
        let bans = self.state.bans().map_err(state_failed)?;
        let mut new = Vec::new();
        for entry in boot_state.failed_entries() {
            let Some(root_hash) = entry.root_hash else { continue };
            if entry.name.has_failed_after_good() {
                let version = &entry.name.version;
                tracing::warn!(
                    %version,
                    "version {version} booted before and fails to boot now: its slot may be damaged; reinstall the version to \
                     rewrite the slot"
                );
                continue;
            }
            if !bans.iter().any(|ban| ban.root_hash == root_hash) {
                new.push(self.ban(&entry.name.version, root_hash, "failed to boot on this machine")?);
            }
        }
        Ok(new)
    }

    fn record_good(&self, boot_state: &BootState) -> Result<(), Failure> {
        let is_good = boot_state.running_entry().is_ok_and(|entry| {
            entry.name.is_good() && entry.name.version.cmp_precedence(&self.identity.version).is_eq()
        });
        // With a pending reboot an operator may be rolling back to the pending version.
        if !is_good || self.pending().is_some() {
            return Ok(());
        }
        self.state.update_trust_state(|state| state.record_good(&self.identity.version)).map_err(state_failed)
    }

    /// The version whose reboot is pending.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        let text = fs::read_to_string(self.paths.completed()).ok()?;
        Some(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// As [`Updater::pending`], if a server offered it. A server cannot withdraw an operator's installation.
    pub(crate) fn pending_offer(&self) -> Option<String> {
        let text = fs::read_to_string(self.paths.completed()).ok()?;
        let mut lines = text.lines();
        let version = lines.next()?.trim().to_owned();
        lines.next().is_some_and(|line| line == OFFERED).then_some(version)
    }

    fn ban(&self, version: &Version, root_hash: Digest, reason: &str) -> Result<Ban, Failure> {
        let ban = Ban { version: version.clone(), root_hash, reason: reason.to_owned(), since: now() };
        let add = |bans: &mut Vec<Ban>| {
            bans.retain(|old| old.root_hash != root_hash);
            bans.push(ban.clone());
        };
        self.state.update_bans(add).map_err(state_failed)?;
        Ok(ban)
    }

    /// Whether an operator mounted another release file over the image's, which allows a downgrade.
    fn has_version_override(&self) -> bool {
        let Ok(boot_state) = self.inspect() else { return false };
        let Ok(entry) = boot_state.running_entry() else { return false };
        let (configured, booted) = (&self.identity.version, &entry.name.version);
        let differ = configured.cmp_precedence(booted).is_ne();
        if differ {
            tracing::warn!(
                "the release file contains version {configured}, but {booted} is running: downgrades are accepted"
            );
        }
        differ
    }

    /// The machine's time, and that of its image.
    pub(crate) fn clock(&self) -> Clock {
        let clock = Clock { now: now(), build_time: self.identity.build_time };
        if clock.is_wrong() {
            tracing::warn!(
                "the system clock is before the build time of this version: expiry is not checked"
            );
        }
        clock
    }

    /// Records the root in force. The image's, too: after a rollback to an older image, the keys that it revoked stay
    /// revoked.
    pub(crate) fn record_root(&self, root: RootInForce) -> Result<(), Failure> {
        self.state.update_trust_state(|state| *state = state.valid_under(root)).map_err(state_failed)
    }

    /// Verifies a release, and records what it excludes.
    pub(crate) fn verify_release(
        &self,
        found: Found<'_>,
        settings: &Settings,
        options: UpdateOptions,
    ) -> Result<VerifiedRelease, Failure> {
        let downgrade = options.downgrade || self.has_version_override();
        let options = UpdateOptions { downgrade, ..options };
        let bans = self.state.bans().map_err(state_failed)?;
        let accept = |state: &mut TrustState| {
            let context = VerifyContext {
                appid: &self.identity.appid,
                board: &self.identity.board,
                channel: &settings.group,
                running: Some(&self.identity.version),
                clock: Clock { now: now(), build_time: self.identity.build_time },
                root: found.root,
                state: state.clone(),
                bans: &bans,
                options,
            };
            let Found { bytes, listed, channel, .. } = found;
            let judged = verify_release(bytes, listed, channel, &context);
            let accepted = judged.map_err(|refusal| rejected(&refusal))?;
            state.clone_from(&accepted.state);
            Ok(accepted)
        };
        self.state.update_trust_state(accept).map_err(state_failed)?
    }

    /// `still_offered` is called after the transfer, which may take days, and before the version can boot.
    pub(crate) fn install(
        &self,
        accepted: &VerifiedRelease,
        origin: &Origin,
        observer: &dyn Observer,
        notify: Notify<'_>,
        still_offered: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        let release = &accepted.release;
        let with_version = |mut failure: Failure| {
            failure.version = Some(release.version.to_string());
            failure
        };
        self.install_release(release, origin, observer, notify, still_offered).map_err(with_version)?;
        Ok(Outcome::Installed { version: release.version.clone() })
    }

    fn install_release(
        &self,
        release: &Release,
        origin: &Origin,
        observer: &dyn Observer,
        notify: Notify<'_>,
        still_offered: &dyn Fn() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut slots = Slots::open(&self.paths, &self.identity.id)?;
        let steps = slots.boot_state.plan_install(release).map_err(plan_failed)?;
        let root_hash = Some(release.images.verity.root_hash);
        let mut attempts = self.state.attempts().map_err(state_failed)?;
        let is_retry = attempts.root_hash == root_hash;
        if !is_retry {
            attempts = Attempts { root_hash, ..Attempts::default() };
        }
        let before = attempts.delta;
        let method = method::choose(release, slots.boot_state.running, before);
        if let method::Method::Delta(_) = method {
            attempts.delta += 1;
        }
        // Before any write: the power may fail from here on.
        self.state.set_attempts(&attempts).map_err(state_failed)?;
        // The first step removes the boot image of a pending version: no reboot must be requested for it anymore.
        if self.pending().is_some() {
            self.clear_pending()?;
        }
        observer.found(&release.version.to_string(), method.payload().blob.size);
        observer.operation(Operation::Downloading);
        notify(Event::new(EventType::DOWNLOAD_STARTED, EventResult::SUCCESS));
        let reporting = ProgressReporter::new(observer, notify, self.report_interval);
        let is_written = Cell::new(false);
        let delivery = Delivery { origin, isolation: &self.isolation, resume: is_retry };
        let outcome = slots.execute(&steps, |targets| {
            fill(release, method, delivery, targets, &reporting)?;
            is_written.set(true);
            notify(Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
            secure_boot::check(&self.paths, targets)?;
            still_offered()
        });
        if outcome.as_ref().is_err_and(|failure| failure.kind == Kind::Cancelled || is_written.get()) {
            // No evidence against the delta.
            self.state.set_attempts(&Attempts { delta: before, ..attempts }).map_err(state_failed)?;
        }
        outcome?;
        // After the pending mark: an attempt that is interrupted in between must not look like a rollback.
        self.mark_pending(&release.version, matches!(origin, Origin::Server { .. }))?;
        self.state.set_previous_version(&self.identity.version.to_string()).map_err(state_failed)?;
        self.state.set_attempts(&Attempts::default()).map_err(state_failed)?;
        notify(Event::new(EventType::UPDATE_COMPLETE, EventResult::SUCCESS));
        Ok(())
    }

    fn mark_pending(&self, version: &Version, offered: bool) -> Result<(), Failure> {
        let by = if offered { format!("{OFFERED}\n") } else { String::new() };
        replace_file(self.paths.completed(), format!("{version}\n{by}").as_bytes()).map_err(state_failed)
    }
}

/// Second line of the file that marks a pending reboot.
const OFFERED: &str = "offered by a server";

/// The failure for a rejected release.
pub(crate) fn rejected(refusal: &VerifyError) -> Failure {
    let code = match refusal {
        VerifyError::RootLost { .. } => ErrorCode::PAYLOAD_PUBLIC_KEY,
        VerifyError::Metadata(_) => code::MANIFEST,
        VerifyError::Mismatch(_) => ErrorCode::PAYLOAD_HASH_MISMATCH,
        VerifyError::Expired { .. } | VerifyError::NotOffered { .. } => ErrorCode::DEFERRED_PER_POLICY,
        // Published incorrectly: a failure of the version.
        VerifyError::WrongProduct(_) | VerifyError::WrongBoard(_) | VerifyError::NotForChannel { .. } => {
            ErrorCode::RESPONSE_INVALID
        }
        // Rejected by this machine only.
        VerifyError::Downgrade { .. }
        | VerifyError::OldEpoch { .. }
        | VerifyError::BelowMinFrom { .. }
        | VerifyError::Banned { .. } => ErrorCode::IGNORED_PER_POLICY,
    };
    Failure::new(Kind::Rejected, code, refusal)
}

/// Unix time in seconds.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

pub(crate) fn state_failed(error: crate::state::StateError) -> Failure {
    Failure::new(Kind::Machine, code::STATE, &error)
}
