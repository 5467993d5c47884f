//! Attempts to update, and the other changes of the slots.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use omaha::{ErrorCode, Event, EventResult, EventType};
use release::{Digest, Release, Version, files};
use update_core::method;
use update_core::slots::Machine;
use update_core::status::Operation;
use update_core::trust::{Accepted, Ban, Facts, Offer, Refusal, Seen, Wish, judge};

use crate::error::{Failure, Kind, code};
use crate::fill::fill;
use crate::identity::Identity;
use crate::memory::{Attempts, Memory, put, remove};
use crate::origin::Origin;
use crate::places::Places;
use crate::secure_boot;
use crate::settings::Settings;
use crate::slots::{Slots, refused};
use crate::watch::{Notify, Reporting, Watch};
use crate::web::Patience;

/// Result of a successful attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
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
    pub places: Places,
    pub identity: Identity,
    pub memory: Memory,
    pub patience: Patience,
    /// Interval of progress reports to the server. Its grants expire after an hour by default.
    pub report: Duration,
}

const REPORT: Duration = Duration::from_secs(15 * 60);

impl Updater {
    pub fn new(places: &Places, patience: Patience) -> Result<Self, Failure> {
        let identity =
            Identity::read(places).map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))?;
        Ok(Self { places: places.clone(), identity, memory: Memory::new(places), patience, report: REPORT })
    }

    /// Installs from a folder or bundle, without a server.
    pub fn apply(
        &self,
        settings: &Settings,
        path: &Path,
        wish: Wish,
        watch: &dyn Watch,
    ) -> Result<Done, Failure> {
        let origin = Origin::at_path(path).map_err(|error| {
            let message = format!("{} cannot be read: {error}", path.display());
            Failure::text(Kind::Refused, ErrorCode::DOWNLOAD_TRANSFER, message)
        })?;
        self.follow_keys(&origin, &|name| origin.has(name))?;
        let offer = offer(&origin, false)?;
        let accepted = self.judge(&offer, settings, wish)?;
        self.install(&accepted, &origin, watch, &|_| {})
    }

    /// The slots and boot entries.
    pub fn look(&self) -> Result<Machine, Failure> {
        Slots::look(&self.places, &self.identity.id)
    }

    /// Makes the other version the next one to boot, and bans the running one.
    pub fn roll_back(&self) -> Result<Version, Failure> {
        let mut slots = Slots::open(&self.places, &self.identity.id)?;
        let (version, steps) = slots.machine.roll_back().map_err(refused)?;
        let running = slots.machine.running_entry().map_err(refused)?.clone();
        self.ban(&running.name.version, slots.machine.running, "an operator rolled it back")?;
        let lower = |seen: &mut Seen| seen.version = Some(version.clone());
        self.memory.change_seen(lower).map_err(memory_failed)?;
        slots.change(&steps)?;
        self.mark_pending(&version, false)?;
        Ok(version)
    }

    /// Discards an update whose reboot is pending.
    pub fn forget_pending(&self) -> Result<(), Failure> {
        let mut slots = Slots::open(&self.places, &self.identity.id)?;
        let steps = slots.machine.forget_pending().map_err(refused)?;
        slots.change(&steps)?;
        self.forget_completed()
    }

    /// No reboot is pending anymore, and the next boot reports neither success nor rollback.
    fn forget_completed(&self) -> Result<(), Failure> {
        remove(self.places.completed()).map_err(memory_failed)?;
        self.memory.set_previous_version("").map_err(memory_failed)
    }

    /// Records the running version as good if it is, and bans the versions without tries left. Returns the new bans.
    /// A version that was good before is only logged: its slot may be damaged, and an installation rewrites it.
    pub fn note_outcomes(&self) -> Result<Vec<Ban>, Failure> {
        let machine = self.look()?;
        self.note_good(&machine)?;
        let bans = self.memory.bans().map_err(memory_failed)?;
        let mut new = Vec::new();
        for entry in machine.failed() {
            let Some(root_hash) = entry.root_hash else { continue };
            if entry.name.is_tried_again() {
                let version = &entry.name.version;
                tracing::warn!(
                    %version,
                    "version {version} was good and no longer boots: its slot may be damaged; installing the version again \
                     rewrites it"
                );
                continue;
            }
            if !bans.iter().any(|ban| ban.root_hash == root_hash) {
                new.push(self.ban(&entry.name.version, root_hash, "it did not come up on this machine")?);
            }
        }
        Ok(new)
    }

    fn note_good(&self, machine: &Machine) -> Result<(), Failure> {
        let is_good = machine.running_entry().is_ok_and(|entry| {
            entry.name.is_good() && entry.name.version.cmp_precedence(&self.identity.version).is_eq()
        });
        // With a pending reboot an operator may be rolling back to the pending version.
        if !is_good || self.pending().is_some() {
            return Ok(());
        }
        self.memory.change_seen(|seen| seen.found_good(&self.identity.version)).map_err(memory_failed)
    }

    /// The version whose reboot is pending.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        let text = fs::read_to_string(self.places.completed()).ok()?;
        Some(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// As [`Updater::pending`], if a server offered it. A server cannot withdraw an operator's installation.
    pub(crate) fn pending_offer(&self) -> Option<String> {
        let text = fs::read_to_string(self.places.completed()).ok()?;
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
        self.memory.change_bans(add).map_err(memory_failed)?;
        Ok(ban)
    }

    /// Whether an operator mounted another release file over the image's, which allows a downgrade.
    fn shows_another_version(&self) -> bool {
        let Ok(machine) = self.look() else { return false };
        let Ok(entry) = machine.running_entry() else { return false };
        let (shown, booted) = (&self.identity.version, &entry.name.version);
        let differ = shown.cmp_precedence(booted).is_ne();
        if differ {
            tracing::warn!(
                "the release file says {shown}, and {booted} runs: older versions than were found good are accepted"
            );
        }
        differ
    }

    pub(crate) fn judge(&self, offer: &Offer, settings: &Settings, wish: Wish) -> Result<Accepted, Failure> {
        let authorities = self.authorities(settings)?;
        let downgrade = wish.downgrade || self.shows_another_version();
        let bans = self.memory.bans().map_err(memory_failed)?;
        let facts = |seen: &Seen| Facts {
            appid: &self.identity.appid,
            board: &self.identity.board,
            channel: &settings.group,
            running: Some(&self.identity.version),
            now: now(),
            build_time: self.identity.build_time,
            seen: seen.clone(),
            bans: &bans,
            wish: Wish { downgrade, ..wish },
        };
        let accept = |seen: &mut Seen| {
            let judged = judge(offer, &authorities, &facts(seen));
            let accepted = judged.map_err(|refusal| not_taken(&refusal))?;
            seen.clone_from(&accepted.seen);
            Ok(accepted)
        };
        let accepted: Accepted = self.memory.change_seen(accept).map_err(memory_failed)??;
        if accepted.clock_is_wrong {
            tracing::warn!("the clock is before the time that this version was built: expiry is not judged");
        }
        Ok(accepted)
    }

    pub(crate) fn install(
        &self,
        accepted: &Accepted,
        origin: &Origin,
        watch: &dyn Watch,
        notify: Notify<'_>,
    ) -> Result<Done, Failure> {
        let release = &accepted.release;
        let with_version = |mut failure: Failure| {
            failure.version = Some(release.version.to_string());
            failure
        };
        self.install_release(release, origin, watch, notify).map_err(with_version)?;
        Ok(Done::Installed { version: release.version.clone() })
    }

    fn install_release(
        &self,
        release: &Release,
        origin: &Origin,
        watch: &dyn Watch,
        notify: Notify<'_>,
    ) -> Result<(), Failure> {
        let mut slots = Slots::open(&self.places, &self.identity.id)?;
        let steps = slots.machine.install(release).map_err(refused)?;
        let root_hash = Some(release.images.verity.root_hash);
        let mut attempts = self.memory.attempts().map_err(memory_failed)?;
        let again = attempts.root_hash == root_hash;
        if !again {
            attempts = Attempts { root_hash, ..Attempts::default() };
        }
        let before = attempts.delta;
        let method = method::choose(release, slots.machine.running, before);
        if let method::Method::Delta(_) = method {
            attempts.delta += 1;
        }
        // Before any write: the power may fail from here on.
        self.memory.set_attempts(&attempts).map_err(memory_failed)?;
        // The first step removes the boot image of a pending version: no reboot must be requested for it anymore.
        if self.pending().is_some() {
            self.forget_completed()?;
        }
        watch.found(&release.version.to_string(), method.payload().blob.size);
        watch.operation(Operation::Downloading);
        notify(Event::new(EventType::DOWNLOAD_STARTED, EventResult::SUCCESS));
        let reporting = Reporting::new(watch, notify, self.report);
        let outcome = slots.carry_out(&steps, |targets| {
            fill(release, method, origin, targets, again, &reporting)?;
            notify(Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
            secure_boot::check(&self.places, targets)
        });
        if outcome.as_ref().is_err_and(|failure| failure.kind == Kind::Cancelled) {
            // An interrupted attempt is no evidence against the delta.
            self.memory.set_attempts(&Attempts { delta: before, ..attempts }).map_err(memory_failed)?;
        }
        outcome?;
        // After the pending mark: an attempt that is interrupted in between must not look like a rollback.
        self.mark_pending(&release.version, matches!(origin, Origin::Server { .. }))?;
        self.memory.set_previous_version(&self.identity.version.to_string()).map_err(memory_failed)?;
        self.memory.set_attempts(&Attempts::default()).map_err(memory_failed)?;
        notify(Event::new(EventType::UPDATE_COMPLETE, EventResult::SUCCESS));
        Ok(())
    }

    fn mark_pending(&self, version: &Version, offered: bool) -> Result<(), Failure> {
        let by = if offered { format!("{OFFERED}\n") } else { String::new() };
        put(self.places.completed(), format!("{version}\n{by}").as_bytes()).map_err(memory_failed)
    }
}

/// Second line of the file that marks a pending reboot.
const OFFERED: &str = "offered by a server";

/// Fetches the metadata of an offer.
pub(crate) fn offer(origin: &Origin, from_server: bool) -> Result<Offer, Failure> {
    let text = |name: &'static str| {
        let bytes = origin.metadata(name)?;
        Ok::<_, Failure>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let release = origin.metadata(files::RELEASE)?;
    if !release.trim_ascii_start().starts_with(b"{") {
        let begin: String = String::from_utf8_lossy(&release).chars().take(200).collect();
        let message = format!("release.json is none, as if a portal answered: it begins: {begin:?}");
        return Err(Failure::text(Kind::Passing, ErrorCode::DOWNLOAD_TRANSFER, message));
    }
    let timestamp = match from_server {
        true => Some((origin.metadata(files::TIMESTAMP)?, text(files::TIMESTAMP_SIGNATURE)?)),
        false => None,
    };
    Ok(Offer {
        release_sha256: Digest::of(&release),
        release_signature: text(files::RELEASE_SIGNATURE)?,
        release,
        timestamp,
    })
}

/// The failure for a rejected offer.
pub(crate) fn not_taken(refusal: &Refusal) -> Failure {
    let code = match refusal {
        Refusal::Signature { .. } | Refusal::KeysExpired { .. } | Refusal::KeysLost { .. } => {
            ErrorCode::PAYLOAD_PUBLIC_KEY
        }
        Refusal::Metadata(_) => code::MANIFEST,
        Refusal::Mixed => ErrorCode::PAYLOAD_HASH_MISMATCH,
        Refusal::Stale(_) | Refusal::Replayed { .. } | Refusal::Expired { .. } => {
            ErrorCode::DEFERRED_PER_POLICY
        }
        // Published incorrectly: a failure of the version.
        Refusal::Product(_)
        | Refusal::Board(_)
        | Refusal::NotForChannel { .. }
        | Refusal::OtherChannel { .. } => ErrorCode::RESPONSE_INVALID,
        // Rejected by this machine only.
        Refusal::Older { .. }
        | Refusal::OldEpoch { .. }
        | Refusal::TooFar { .. }
        | Refusal::Banned { .. } => ErrorCode::IGNORED_PER_POLICY,
    };
    Failure::new(Kind::Refused, code, refusal)
}

/// Unix time in seconds.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

pub(crate) fn memory_failed(error: crate::memory::MemoryError) -> Failure {
    Failure::new(Kind::Machine, code::STATE, &error)
}
