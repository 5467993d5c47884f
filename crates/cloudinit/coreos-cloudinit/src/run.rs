//! One run: fetch, decode, validate, plan, and then print or apply (contract 1.1).
//!
//! User-data that cannot be used is dropped as a whole; the metadata's name, keys and addresses still count,
//! so that one can log in and look.
//!
//! All of it but the applying runs with the rights to read, and no others ([`rights`]).

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use cloudinit::check::Refusal;
use cloudinit::convert::{self, ConvertError};
use cloudinit::meaning::{Meaning, Tokens, interpret};
use cloudinit::metadata::{Metadata, merge};
use cloudinit::network::{self, Format, Network};
use cloudinit::plan::{self, Plan, Settings as PlanSettings};
use cloudinit::template::Addresses;
use cloudinit::user_data::{self, Kind, UserData};
use cloudinit::{Finding, Severity, validate_decoded};
use host::{Root, files, lock};
use serde::Serialize;

use crate::apply::{self, Settings};
use crate::datasource::{Chosen, Found, Memory, Patience, Source, choose};
use crate::flags::Request;
use crate::log::Log;
use crate::observe;
use crate::private;
use crate::report::{self, Failure, Report};
use crate::rights::{self, Needs};
use crate::seen;

const LOCK_PATH: &str = "/run/coreos-cloudinit.lock";
const PERSIST_PATH: &str = "/var/lib/coreos-install/user_data";
/// The name that user-data gave the machine since it was started.
const NAMED_PATH: &str = "/run/coreos-cloudinit/hostname";
/// The keys that metadata gave `core` since the machine was started: names and texts, as JSON.
const KEYS_PATH: &str = "/run/coreos-cloudinit/keys";
const MAX_STAMP_BYTES: usize = private::MAX_STAMP_BYTES;
const MAX_KEYS_BYTES: usize = 64 * 1024;

/// What was fetched and found, before anything is decided.
struct Fetched {
    source: Source,
    user_data: UserData,
    /// Of the bytes as they came.
    sha256: String,
    /// The bytes as they came, for `-persist` only.
    raw: Option<Vec<u8>>,
    findings: Vec<Finding>,
    /// The user-data could not be fetched or decoded.
    broken: bool,
}

/// As the validator's web API has it: `null` where there is nothing to say.
#[derive(Serialize)]
struct ValidationAnswer<'a> {
    result: Option<&'a [Finding]>,
}

/// What a run is going to do.
struct Prepared {
    plan: Plan,
    /// The user-data was fetched but cannot be used.
    malformed: bool,
    /// Steps that were refused before any was done; the others are not concerned.
    refused: Vec<Failure>,
    /// The user-data belongs to another program; nothing is to be done.
    foreign: bool,
    instance: Option<String>,
    /// The machine's name in the user-data.
    named: Option<String>,
    /// The metadata's keys, by name.
    keys: Vec<(String, String)>,
}

/// Does work that only reads with the rights for that.
///
/// # Errors
/// Those of the work, or the rights cannot be given up.
pub fn reading<T: Send>(
    request: &Request,
    log: &Log,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let mut all = Needs::default();
    for needs in request.sources.iter().map(Source::needs) {
        all.programs |= needs.programs;
        all.capabilities.extend(needs.capabilities);
        all.devices.extend(needs.devices);
    }
    rights::reading(&all, log, work)?
}

/// Prints the findings; whether there are none.
pub fn validate(request: &Request, json: bool, log: &Log) -> anyhow::Result<bool> {
    let (fetched, _) = fetch(request, Patience::AskOnce, log)?;
    if json {
        let result = (!fetched.findings.is_empty()).then_some(&*fetched.findings);
        println!("{}", serde_json::to_string(&ValidationAnswer { result })?);
    }
    Ok(!fetched.broken && fetched.findings.is_empty())
}

/// Prints the user-data in another format, and what has no counterpart there; whether it could be converted.
pub fn convert(request: &Request, format: convert::Format, log: &Log) -> anyhow::Result<bool> {
    let (fetched, _) = fetch(request, Patience::AskOnce, log)?;
    if fetched.broken {
        return Ok(false);
    }
    let is_wrong = fetched.findings.iter().any(|finding| finding.kind == Severity::Error);
    let converted = match convert::convert(&fetched.user_data, format) {
        Ok(_) if is_wrong => Err(ConvertError::NotValid),
        converted => converted,
    };
    let converted = converted.context("cannot convert")?;
    std::io::stdout().write_all(converted.text.as_bytes()).context("cannot print the result")?;
    for entry in &converted.without {
        // As the list is for people and programs, it is without the log's time.
        eprintln!("{entry}");
    }
    Ok(true)
}

/// Prints the steps; whether a run would succeed as far as can be known.
pub fn plan(request: &Request, log: &Log) -> anyhow::Result<bool> {
    let root = Root::open(&request.root)?;
    let (fetched, memory) = fetch(request, Patience::Wait, log)?;
    let metadata = fetch_metadata(&fetched, &memory, log)?;
    let prepared = prepare(request, &root, &fetched, metadata, log)?;
    let text = plan::print(&prepared.plan).context("cannot print the plan")?;
    std::io::stdout().write_all(text.as_bytes()).context("cannot print the plan")?;
    Ok(is_good(request, &fetched, &prepared) && prepared.refused.is_empty())
}

/// Does everything; whether all went well.
pub fn apply(request: &Request, log: &Log) -> anyhow::Result<bool> {
    let commands_end = apply::commands_end()?;
    let root = Root::open(&request.root)?;
    if root.is_machine() && !nix::unistd::Uid::effective().is_root() {
        bail!("only root may change this machine: run it with sudo, or with -plan to see what it would do");
    }
    let (mut fetched, mut metadata) = read(request, log)?;
    let lock = lock::take(&root, LOCK_PATH, |holder| {
        let process = holder.map(|id| format!(" (process {id})")).unwrap_or_default();
        log.info(format!("Waiting for another run to end{process}"));
    })?;
    // A run that began later may have had the lock before, and applied what the file has since.
    if matches!(&fetched.source, Source::File(path) if !fetched.broken && seen::is_replaced(path, &fetched.sha256))
    {
        (fetched, metadata) = read(request, log)?;
    }
    let seen = match &fetched.source {
        Source::File(path) => Some(seen::File::new(path)),
        _ => None,
    };
    if let Some(seen) = seen.as_ref().filter(|_| request.if_changed)
        && seen.is(&root, &fetched.sha256)?
    {
        log.info("Nothing changed: this user-data was applied since the machine was started");
        return Ok(true);
    }
    let prepared =
        rights::reading(&Needs::default(), log, || prepare(request, &root, &fetched, metadata, log))??;
    if prepared.foreign {
        return Ok(true);
    }
    let stamp = format!("{} {}\n", prepared.instance.as_deref().unwrap_or("-"), fetched.sha256);
    let stamp_path = format!("{}/once", request.workspace.trim_end_matches('/'));
    if request.once && files::read(&root, &stamp_path, MAX_STAMP_BYTES)?.as_deref() == Some(stamp.as_bytes())
    {
        log.info("Nothing changed: -once, and this user-data was applied to this instance before");
        return Ok(true);
    }
    remember(&root, &prepared)?;
    let may_run = root.is_machine() || request.root_run;
    let settings = Settings { root: &root, may_run, workspace: &request.workspace, commands_end, log };
    // Not before: a run that is killed has applied nothing, and the same file once more is to be applied.
    let written = || {
        if let Some(Err(error)) = seen.as_ref().map(|seen| seen.keep(&root, &fetched.sha256)) {
            log.warning(format!(
                "The next run does not know this user-data: {}",
                service::error::chain(&error)
            ));
        }
    };
    let mut applied = apply::apply(&prepared.plan, &settings, lock, written);
    applied.failed.extend(prepared.refused.iter().cloned());
    if request.persist {
        persist(&root, &fetched, &prepared, log)?;
    }
    // User-data that could not be used was not applied, and the next run has to say so again.
    let is_whole = applied.failed.is_empty() && applied.missed.is_empty();
    if request.once && is_whole && !(fetched.broken || prepared.malformed) {
        private::write(&root, &stamp_path, stamp.as_bytes())?;
    }
    let steps = prepared.plan.steps.len();
    say_how_it_went(log, steps, applied.changed, applied.failed.len());
    let good = is_good(request, &fetched, &prepared) && applied.failed.is_empty();
    let report = Report {
        source: fetched.source.kind().to_owned(),
        kind: fetched.user_data.kind.name().to_owned(),
        sha256: fetched.sha256,
        findings: fetched.findings,
        failed: applied.failed,
        missed: applied.missed,
        scripts: applied.scripts,
        changed: applied.changed,
        steps,
    };
    report::store(&root, &report)?;
    Ok(good)
}

fn read(request: &Request, log: &Log) -> anyhow::Result<(Fetched, Metadata)> {
    reading(request, log, || {
        let (fetched, memory) = fetch(request, Patience::Wait, log)?;
        let metadata = fetch_metadata(&fetched, &memory, log)?;
        Ok((fetched, metadata))
    })
}

fn say_how_it_went(log: &Log, steps: usize, changed: u32, failed: usize) {
    match (changed, failed) {
        (0, 0) => log.info(format!("Nothing changed: all {steps} steps were done already")),
        (changed, 0) => log.info(format!("{changed} of {steps} steps changed something")),
        (changed, failed) => {
            log.error(format!("{changed} of {steps} steps changed something, {failed} failed"));
        }
    }
}

/// What later runs of this boot have to know.
fn remember(root: &Root, prepared: &Prepared) -> anyhow::Result<()> {
    if let Some(name) = &prepared.named {
        private::note(root, NAMED_PATH, name.as_bytes())?;
    }
    if !prepared.keys.is_empty() {
        let keys = serde_json::to_vec(&prepared.keys).context("cannot write the keys as JSON")?;
        private::note(root, KEYS_PATH, &keys)?;
    }
    Ok(())
}

fn is_good(request: &Request, fetched: &Fetched, prepared: &Prepared) -> bool {
    request.ignore_failure || !(fetched.broken || prepared.malformed)
}

/// With what the source told besides.
fn fetch(request: &Request, patience: Patience, log: &Log) -> anyhow::Result<(Fetched, Memory)> {
    let Chosen { source, found: Found { memory, user_data } } = choose(&request.sources, patience, log)?;
    log.info(format!("Fetching user-data from datasource of type {:?}", source.kind()));
    let mut broken = false;
    let fetched = user_data.map_or_else(|| source.user_data(&memory, patience, log), Ok);
    let raw = fetched.unwrap_or_else(|error| {
        log.error(format!(
            "Failed fetching user-data from datasource: {}. Continuing...",
            service::error::chain(&error)
        ));
        broken = true;
        Vec::new()
    });
    let sha256 = plan::sha256(&raw);
    let kept = request.persist.then(|| raw.clone());
    let decoded = rights::parsing(log, || decoded(raw, log))?;
    broken |= decoded.is_none();
    let (user_data, findings) = decoded
        .unwrap_or_else(|| (UserData { kind: Kind::Empty, text: Vec::new(), was_base64: false }, Vec::new()));
    Ok((Fetched { source, user_data, sha256, raw: kept, findings, broken }, memory))
}

/// With what the validator finds; `None`, with the reason told, where it cannot be decoded.
fn decoded(raw: Vec<u8>, log: &Log) -> Option<(UserData, Vec<Finding>)> {
    let user_data = match user_data::decode(raw) {
        Ok(user_data) => user_data,
        Err(error) => {
            log.error(format!(
                "Failed decompressing user-data from datasource: {}. Continuing...",
                service::error::chain(&error)
            ));
            return None;
        }
    };
    if user_data.was_base64 {
        log.warning("user-data was base64 encoded, decoded it");
    }
    let findings = validate_decoded(&user_data);
    for finding in &findings {
        match finding.kind {
            Severity::Error => log.error(finding.to_string()),
            Severity::Warning => log.warning(finding.to_string()),
            Severity::Info => log.info(finding.to_string()),
        }
    }
    Some((user_data, findings))
}

/// Without the lock: a service that is slow to answer must not hold up a run from another source.
fn fetch_metadata(fetched: &Fetched, memory: &Memory, log: &Log) -> anyhow::Result<Metadata> {
    log.info(format!("Fetching meta-data from datasource of type {:?}", fetched.source.kind()));
    fetched.source.metadata(memory, Patience::Wait, log).context("Failed fetching meta-data from datasource")
}

fn prepare(
    request: &Request,
    root: &Root,
    fetched: &Fetched,
    mut metadata: Metadata,
    log: &Log,
) -> anyhow::Result<Prepared> {
    let given = observe::environment_addresses(root, log).context("cannot look at the machine")?;
    let addresses = metadata.addresses.clone().or(given);
    let tokens = Tokens::Addresses(&addresses);
    let meaning =
        rights::parsing(log, || interpret(&fetched.user_data, tokens, &mut |told| log.pass_on(&told)))?;
    if meaning.foreign {
        let instance = metadata.instance;
        return Ok(Prepared {
            plan: Plan::default(),
            malformed: false,
            refused: Vec::new(),
            foreign: true,
            instance,
            named: None,
            keys: Vec::new(),
        });
    }
    log.info("Merging cloud-config from meta-data and user-data");
    let malformed = meaning.malformed;
    let refused = meaning.checked.left_out.iter().map(|refusal| left_out(refusal, log)).collect();
    let named = meaning.checked.hostname.clone();
    let keys = metadata.keys.clone();
    // The user-data's keys take the place of all that stand under their name: of those of the metadata, too, which a file
    // does not bring. Without them, whoever gave the machine its key could log in no more.
    if keys.is_empty() && !meaning.checked.core_keys.is_empty() {
        metadata.keys = kept_keys(root, log)?;
    }
    let plan = decide(request, root, meaning, (&metadata, &addresses), log)?;
    Ok(Prepared { plan, malformed, refused, foreign: false, instance: metadata.instance, named, keys })
}

/// What metadata brought since the machine was started.
fn kept_keys(root: &Root, log: &Log) -> anyhow::Result<Vec<(String, String)>> {
    let kept = observe::permitted(KEYS_PATH, files::read(root, KEYS_PATH, MAX_KEYS_BYTES), log)?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
}

/// Without its network a machine may not be reachable, so that half of one is not tried.
fn network(format: Format, metadata: &Metadata, log: &Log) -> anyhow::Result<Network> {
    let Some(source) = &metadata.network else {
        log.info("no network config to convert");
        return Ok(Network::default());
    };
    log.info(format!("Converting network config of format {:?}", format.name()));
    network::convert(format, source).context("Failed to generate interfaces")
}

/// The rest of the config is applied, but the run has failed.
fn left_out(refusal: &Refusal, log: &Log) -> Failure {
    log.error(format!("Failed to apply cloud-config: {} (line {})", refusal.failure, refusal.place.line));
    Failure { step: format!("line {}", refusal.place.line), error: refusal.failure.clone() }
}

fn decide(
    request: &Request,
    root: &Root,
    meaning: Meaning,
    (metadata, addresses): (&Metadata, &Addresses),
    log: &Log,
) -> anyhow::Result<Plan> {
    let named = files::read(root, NAMED_PATH, MAX_STAMP_BYTES);
    let named = observe::permitted(NAMED_PATH, named, log)?;
    let named = named.as_deref().and_then(|named| str::from_utf8(named).ok());
    let mut checked = merge(meaning.checked, metadata, named);
    if let Some(format) = request.convert_network {
        checked.network = rights::parsing(log, || network(format, metadata, log))??;
    }
    let facts = observe::facts(root, &checked, log).context("cannot look at the machine")?;
    let settings = PlanSettings { ssh_key_name: request.ssh_key_name.clone() };
    let mut plan = plan::plan(&checked, addresses, &facts, &settings);
    plan::add_scripts(&mut plan, &checked.system.commands, &meaning.scripts);
    for note in &plan.notes {
        if note.starts_with("Warning") { log.warning(note) } else { log.info(note) }
    }
    Ok(plan)
}

/// Keeps the user-data for the next boots, if the validator found no error.
fn persist(root: &Root, fetched: &Fetched, prepared: &Prepared, log: &Log) -> anyhow::Result<()> {
    let wrong = fetched.findings.iter().any(|finding| finding.kind == Severity::Error);
    match &fetched.raw {
        Some(raw) if !(wrong || fetched.broken || prepared.malformed) => {
            // Before the path unit sees the file: it was applied just now.
            seen::File::new(Path::new(PERSIST_PATH)).keep(root, &fetched.sha256)?;
            private::write(root, PERSIST_PATH, raw)?;
            log.info(format!("Keeping the user-data in {PERSIST_PATH}"));
        }
        _ => log.error("Not keeping the user-data: it is not valid"),
    }
    Ok(())
}
