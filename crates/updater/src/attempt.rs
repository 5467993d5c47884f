//! One attempt from beginning to end, and what else changes the slots.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use disk_slots::carry_out::{CarryOutError, carry_out};
use disk_slots::look::{look, partitions};
use disk_slots::{Devices, DiskFile, EspFolder, find_devices, gpt};
use nix::fcntl::{Flock, FlockArg};
use omaha::{Answer, ErrorCode, Event, EventResult, EventType};
use release::{Digest, Release, Version, files};
use update::method;
use update::slots::{Machine, Step};
use update::status::Operation;
use update::trust::{Accepted, Authorities, Ban, Facts, Offer, Refusal, Wish, judge};

use crate::error::{Failure, Kind, code};
use crate::fill::{Slot, Targets, fill};
use crate::identity::Identity;
use crate::memory::{Attempts, Memory, put, remove};
use crate::origin::Origin;
use crate::places::Places;
use crate::question::{Question, Source};
use crate::settings::{Server, Settings};
use crate::watch::Watch;
use crate::web::{Patience, Web};

/// How an attempt ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// No server is asked, and why.
    Disabled(String),
    /// Nothing newer, with the server's reason if it gave one.
    UpToDate(Option<String>),
    /// There is one, and the operator holds it back.
    Held { version: String, reason: String },
    /// It waits for a reboot.
    Installed { version: Version },
}

/// A check's outcome, and how long the server wants to be left alone, in seconds.
#[derive(Debug, Clone)]
pub struct Checked {
    pub done: Result<Done, Failure>,
    pub poll_interval: Option<u32>,
    /// Whether the server answered at all.
    pub answered: bool,
}

/// A machine, as an update sees it.
pub struct Updater {
    pub places: Places,
    pub identity: Identity,
    pub memory: Memory,
    pub patience: Patience,
}

/// The slots, for as long as nobody else may change them.
struct Slots {
    devices: Devices,
    disk: DiskFile,
    esp: EspFolder,
    machine: Machine,
    _lock: Flock<File>,
}

impl Updater {
    pub fn new(places: &Places, patience: Patience) -> Result<Self, Failure> {
        let identity =
            Identity::read(places).map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))?;
        Ok(Self { places: places.clone(), identity, memory: Memory::new(places), patience })
    }

    /// Asks the server, and installs what it offers.
    pub fn check(&self, settings: &Settings, interactive: bool, wish: Wish, watch: &dyn Watch) -> Checked {
        let mut checked = Checked { done: Ok(Done::UpToDate(None)), poll_interval: None, answered: false };
        let url = match &settings.server {
            Server::Url(url) => url.clone(),
            Server::Disabled(why) => {
                checked.done = Ok(Done::Disabled(why.clone()));
                return checked;
            }
        };
        let web = Web::new(self.patience, settings.rate_limit);
        let talk = Talk { updater: self, settings, web: &web, url: &url, interactive };
        checked.done = talk.check(wish, watch, &mut checked.poll_interval, &mut checked.answered);
        if let Err(failure) = &checked.done
            && failure.kind != Kind::Cancelled
        {
            watch.operation(Operation::ReportingError);
            if checked.answered {
                talk.tell(Event::failed(talk.flagged(failure.code)));
            }
        }
        checked
    }

    /// Installs from a folder or file; no server is asked.
    pub fn apply(
        &self,
        settings: &Settings,
        path: &Path,
        wish: Wish,
        watch: &dyn Watch,
    ) -> Result<Done, Failure> {
        let origin = Origin::at_path(path).map_err(|error| {
            let message = format!("{} can not be read: {error}", path.display());
            Failure::text(Kind::Refused, ErrorCode::DOWNLOAD_TRANSFER, message)
        })?;
        let offer = offer(&origin, false)?;
        let accepted = self.judge(&offer, settings, wish)?;
        self.install(&accepted, &origin, watch, &mut |_| {})
    }

    /// What stands on the disk.
    pub fn look(&self) -> Result<Machine, Failure> {
        Ok(self.slots()?.machine)
    }

    /// Makes the other version the next one, and keeps this one from coming again by itself.
    pub fn roll_back(&self) -> Result<Version, Failure> {
        let mut slots = self.slots()?;
        let (version, steps) = slots.machine.roll_back().map_err(refused)?;
        let running = slots.machine.running_entry().map_err(refused)?.clone();
        self.ban(&running.name.version, slots.machine.running, "it was rolled back by hand")?;
        self.do_steps(&mut slots, &steps)?;
        self.mark_pending(&version)?;
        Ok(version)
    }

    /// Forgets an update that waits for a reboot.
    pub fn forget_pending(&self) -> Result<(), Failure> {
        let mut slots = self.slots()?;
        let steps = slots.machine.forget_pending().map_err(refused)?;
        self.do_steps(&mut slots, &steps)?;
        remove(self.places.completed()).map_err(memory_failed)
    }

    /// Notes the versions that used their tries up; those that are new here.
    pub fn note_failed(&self) -> Result<Vec<Ban>, Failure> {
        let machine = self.look()?;
        let bans = self.memory.bans().map_err(memory_failed)?;
        let mut new = Vec::new();
        for entry in machine.failed() {
            let Some(root_hash) = entry.root_hash else { continue };
            if !bans.iter().any(|ban| ban.root_hash == root_hash) {
                new.push(self.ban(&entry.name.version, root_hash, "it did not come up on this machine")?);
            }
        }
        Ok(new)
    }

    /// Whether an update waits for a reboot, by what this boot has noted.
    #[must_use]
    pub fn pending(&self) -> Option<String> {
        fs::read_to_string(self.places.completed()).ok().map(|text| text.trim().to_owned())
    }

    fn ban(&self, version: &Version, root_hash: Digest, reason: &str) -> Result<Ban, Failure> {
        let ban = Ban { version: version.clone(), root_hash, reason: reason.to_owned(), since: now() };
        let mut bans = self.memory.bans().map_err(memory_failed)?;
        bans.retain(|old| old.root_hash != root_hash);
        bans.push(ban.clone());
        self.memory.set_bans(&bans).map_err(memory_failed)?;
        Ok(ban)
    }

    fn judge(&self, offer: &Offer, settings: &Settings, wish: Wish) -> Result<Accepted, Failure> {
        let keys = self.keys(settings)?;
        let bans = self.memory.bans().map_err(memory_failed)?;
        let facts = Facts {
            appid: &self.identity.appid,
            board: &self.identity.board,
            channel: &settings.group,
            running: &self.identity.version,
            now: now(),
            build_time: self.identity.build_time,
            seen: self.memory.seen().map_err(memory_failed)?,
            bans: &bans,
            wish,
        };
        let accepted = judge(offer, &keys, &facts).map_err(|refusal| {
            let code = match refusal {
                Refusal::Signature { .. } => ErrorCode::PAYLOAD_PUBLIC_KEY,
                Refusal::Metadata(_) => code::MANIFEST,
                Refusal::Mixed => ErrorCode::PAYLOAD_HASH_MISMATCH,
                Refusal::Stale(_) | Refusal::Replayed { .. } | Refusal::Expired { .. } => {
                    ErrorCode::DEFERRED_PER_POLICY
                }
                _ => ErrorCode::IGNORED_PER_POLICY,
            };
            Failure::new(Kind::Refused, code, &refusal)
        })?;
        if accepted.clock_is_wrong {
            tracing::warn!("the clock is before the time that this version was built: expiry is not judged");
        }
        self.memory.see(&accepted.seen).map_err(memory_failed)?;
        Ok(accepted)
    }

    /// The image's own keys, and the owner's where the owner says so.
    fn keys(&self, settings: &Settings) -> Result<Authorities, Failure> {
        let mut keys = Authorities::default();
        let own = settings.allow_local_keys.then_some("etc/keelson/keys.d");
        for folder in ["usr/share/keelson/keys"].into_iter().chain(own) {
            for (kind, to) in [("release", &mut keys.release), ("channel", &mut keys.channel)] {
                for path in public_keys(&self.places.at(folder).join(kind)) {
                    let text = fs::read_to_string(&path).unwrap_or_default();
                    let added = to.add(&path.display().to_string(), &text);
                    added.map_err(|error| Failure::new(Kind::Machine, code::STATE, &error))?;
                }
            }
        }
        Ok(keys)
    }

    fn install(
        &self,
        accepted: &Accepted,
        origin: &Origin,
        watch: &dyn Watch,
        tell: &mut dyn FnMut(Event),
    ) -> Result<Done, Failure> {
        let release = &accepted.release;
        let with_version = |mut failure: Failure| {
            failure.version = Some(release.version.to_string());
            failure
        };
        self.install_release(release, origin, watch, tell).map_err(with_version)?;
        Ok(Done::Installed { version: release.version.clone() })
    }

    fn install_release(
        &self,
        release: &Release,
        origin: &Origin,
        watch: &dyn Watch,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), Failure> {
        let mut slots = self.slots()?;
        let steps = slots.machine.install(release).map_err(refused)?;
        let root_hash = Some(release.images.verity.root_hash);
        let mut attempts = self.memory.attempts().map_err(memory_failed)?;
        let again = attempts.root_hash == root_hash;
        if !again {
            attempts = Attempts { root_hash, ..Attempts::default() };
        }
        let method = method::choose(release, slots.machine.running, attempts.delta);
        if let method::Method::Delta(_) = method {
            attempts.delta += 1;
        }
        // Before anything is written: what follows may end with the power.
        self.memory.set_attempts(&attempts).map_err(memory_failed)?;
        watch.found(&release.version.to_string(), method.payload().blob.size);
        watch.operation(Operation::Downloading);
        tell(Event::new(EventType::DOWNLOAD_STARTED, EventResult::SUCCESS));
        self.carry_out(&mut slots, &steps, |targets| {
            fill(release, method, origin, targets, again, watch)?;
            tell(Event::new(EventType::DOWNLOAD_FINISHED, EventResult::SUCCESS));
            Ok(())
        })?;
        // Not before: an attempt that failed would look like a version that was booted and fell back.
        self.memory.set_previous_version(&self.identity.version.to_string()).map_err(memory_failed)?;
        self.mark_pending(&release.version)?;
        self.memory.set_attempts(&Attempts::default()).map_err(memory_failed)?;
        tell(Event::new(EventType::UPDATE_COMPLETE, EventResult::SUCCESS));
        Ok(())
    }

    fn mark_pending(&self, version: &Version) -> Result<(), Failure> {
        put(self.places.completed(), format!("{version}\n").as_bytes()).map_err(memory_failed)
    }

    fn slots(&self) -> Result<Slots, Failure> {
        let machine_failed =
            |error: &dyn std::error::Error| Failure::new(Kind::Machine, code::INSTALL_DEVICE, error);
        let lock = lock(&self.places.lock()).map_err(|error| {
            let message = format!("another program changes the slots: {error}");
            Failure::text(Kind::Passing, code::STATE, message)
        })?;
        let devices = find_devices(self.places.root()).map_err(|error| machine_failed(&error))?;
        let disk = DiskFile::open(&devices.disk).map_err(|error| {
            let message = format!("{} can not be opened: {error}", devices.disk.display());
            Failure::text(Kind::Machine, code::INSTALL_DEVICE, message)
        })?;
        let esp = EspFolder::new(&self.places.boot());
        let machine =
            look(&disk, &esp, &self.identity.id, devices.running).map_err(|error| machine_failed(&error))?;
        Ok(Slots { devices, disk, esp, machine, _lock: lock })
    }

    /// Steps that fill nothing.
    fn do_steps(&self, slots: &mut Slots, steps: &[Step]) -> Result<(), Failure> {
        self.carry_out(slots, steps, |_| Ok(()))
    }

    fn carry_out(
        &self,
        slots: &mut Slots,
        steps: &[Step],
        mut filled: impl FnMut(&Targets<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Slots { devices, disk, esp, machine, .. } = slots;
        let machine_failed =
            |error: &dyn std::error::Error| Failure::new(Kind::Machine, code::INSTALL_DEVICE, error);
        let table = gpt::read(disk).map_err(|error| machine_failed(&error))?;
        let open = |slot: char| -> Result<[Slot; 2], Failure> {
            let found = partitions(&table, slot).map_err(|error| machine_failed(&error))?;
            let [usr, verity] =
                found.map(|part| Slot::open(&devices.partition(part.number), &devices.disk, part));
            Ok([
                usr.map_err(|error| machine_failed(&error))?,
                verity.map_err(|error| machine_failed(&error))?,
            ])
        };
        let (running, _) = machine.split().map_err(refused)?;
        let old_uki =
            machine.running_entry().map(|entry| esp.path(&entry.name.to_string())).map_err(refused)?;
        let (running, temporary) = (running.name, EspFolder::new(&self.places.boot()));
        let outcome = carry_out(steps, disk, esp, |slot, file| {
            let ([usr, verity], [old_usr, _]) = (open(slot)?, open(running)?);
            let uki = temporary.path(file);
            filled(&Targets { usr: &usr, verity: &verity, uki: &uki, old_usr: &old_usr, old_uki: &old_uki })
        });
        outcome.map_err(|error| match error {
            CarryOutError::Fill(failure) => failure,
            CarryOutError::Table(_) => machine_failed(&error),
            CarryOutError::Esp { .. } => Failure::new(Kind::Machine, code::KERNEL_DEVICE, &error),
        })
    }
}

/// A conversation with the server.
struct Talk<'a> {
    updater: &'a Updater,
    settings: &'a Settings,
    web: &'a Web,
    url: &'a str,
    interactive: bool,
}

impl Talk<'_> {
    fn check(
        &self,
        wish: Wish,
        watch: &dyn Watch,
        poll_interval: &mut Option<u32>,
        answered: &mut bool,
    ) -> Result<Done, Failure> {
        watch.operation(Operation::Checking);
        let memory = &self.updater.memory;
        let previous = memory.previous_version().map_err(memory_failed)?;
        let running = self.updater.identity.version.to_string();
        let pending = self.updater.pending();
        let event = match previous.as_deref() {
            // Installed, and not booted yet.
            Some(_) if pending.is_some() => Event::rebooted(""),
            Some(previous) if previous == running => Event::failed(self.flagged(ErrorCode::ROLLBACK)),
            Some(previous) => Event::rebooted(previous),
            None => Event::rebooted("0.0.0.0"),
        };
        let response = self.question(true, vec![event])?.ask(self.web, self.url)?;
        *answered = true;
        if pending.is_none() {
            memory.set_previous_version("").map_err(memory_failed)?;
        }
        let answer =
            response.answer().map_err(|refusal| Failure::new(Kind::Refused, refusal.code(), &refusal))?;
        let found = match answer {
            Answer::NoUpdate { reason, poll_interval: poll } => {
                *poll_interval = poll;
                return Ok(Done::UpToDate(reason.map(str::to_owned)));
            }
            Answer::Update(found) => found,
        };
        *poll_interval = found.poll_interval;
        if pending.as_deref() == Some(found.version) {
            return Ok(Done::UpToDate(None));
        }
        if let Some(hold) = memory.hold().map_err(memory_failed)?.filter(|_| !self.interactive) {
            return Ok(Done::Held { version: found.version.to_owned(), reason: hold.reason });
        }
        let origin = Origin::Server { web: self.web.clone(), code_bases: found.urls.to_vec() };
        for name in [files::RELEASE, files::RELEASE_SIGNATURE, files::TIMESTAMP, files::TIMESTAMP_SIGNATURE] {
            if found.file(name).is_none() {
                let message = format!("the server offers version {} without {name}", found.version);
                return Err(Failure::text(Kind::Refused, ErrorCode::PAYLOAD_PUBLIC_KEY, message));
            }
        }
        let accepted = self.updater.judge(&offer(&origin, true)?, self.settings, wish)?;
        watch.operation(Operation::Available);
        self.updater.install(&accepted, &origin, watch, &mut |event| self.tell(event))
    }

    fn question(&self, check: bool, events: Vec<Event>) -> Result<Question<'_>, Failure> {
        Ok(Question {
            identity: &self.updater.identity,
            settings: self.settings,
            aleph_version: self
                .updater
                .memory
                .aleph_version(&self.updater.identity.version)
                .map_err(memory_failed)?,
            source: if self.interactive { Source::OnDemand } else { Source::Scheduler },
            ping: check,
            check,
            events,
        })
    }

    /// Best effort: an update goes on without it.
    fn tell(&self, event: Event) {
        let told = self.question(false, vec![event]).and_then(|question| question.ask(self.web, self.url));
        if let Err(failure) = told {
            tracing::info!(error = %failure, "the server was not told how it goes");
        }
    }

    /// With what is special about this machine.
    fn flagged(&self, code: ErrorCode) -> ErrorCode {
        ErrorCode(code.0 | if self.settings.own_server { 1 << 28 } else { 0 })
    }
}

/// Everything of an offer that is small.
fn offer(origin: &Origin, from_server: bool) -> Result<Offer, Failure> {
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

/// `.pub` files of a folder, in the order of their names; none where it is not there.
fn public_keys(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
    paths.sort();
    paths
}

fn lock(path: &Path) -> io::Result<Flock<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error.into())
}

fn refused(refusal: update::slots::Refusal) -> Failure {
    let kind = match refusal {
        update::slots::Refusal::NotProven(_) => Kind::Passing,
        _ => Kind::Machine,
    };
    Failure::new(kind, code::INSTALL_DEVICE, &refusal)
}

fn memory_failed(error: crate::memory::MemoryError) -> Failure {
    Failure::new(Kind::Machine, code::STATE, &error)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
