//! The stages of a run: fetch, decode, validate, plan, then print or apply (contract 1.1).
//!
//! Unusable user-data is dropped as a whole. The metadata's hostname, keys and addresses still apply, so that
//! an operator can log in and investigate.
//!
//! Everything except applying runs with read-only rights ([`rights`]).

use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use cloudinit::convert::{self, ConvertError};
use cloudinit::metadata::Metadata;
use cloudinit::plan;
use cloudinit::user_data::{self, Kind, UserData};
use cloudinit::{Finding, Severity, validate_decoded};
use host::{Root, files, lock};
use serde::Serialize;
use service::error::chain;

use crate::applied_hash::{AppliedHash, has_changed};
use crate::apply::{self, Settings};
use crate::datasource::{self, Cache, Chosen, Found, RetryPolicy, Saved, Source, choose};
use crate::flags::{AZURE_CUSTOM_DATA, Request};
use crate::log::Log;
use crate::prepare::{HOSTNAME_PATH, KEYS_PATH, Prepared, prepare};
use crate::report::{self, Report};
use crate::rights::{self, ExtraRights};
use crate::state_file;

const LOCK_PATH: &str = "/run/coreos-cloudinit.lock";
const PERSIST_PATH: &str = "/var/lib/coreos-install/user_data";
const MAX_STAMP_BYTES: usize = state_file::MAX_STAMP_BYTES;

/// The fetched user-data and the validator's findings.
struct Fetched {
    source: Source,
    user_data: UserData,
    /// Of the user-data as fetched, before decoding.
    sha256: String,
    /// The user-data as fetched; only with `-persist`.
    raw: Option<Vec<u8>>,
    findings: Vec<Finding>,
    /// Fetching or decoding failed.
    broken: bool,
    /// User-data to store for the next boots.
    saved: Option<Saved>,
}

/// The schema of the validator's web API: `null` without findings.
#[derive(Serialize)]
struct ValidationAnswer<'a> {
    result: Option<&'a [Finding]>,
}

/// Runs `work` with the read-only rights that the request's sources need.
pub fn read_only<T: Send>(
    request: &Request,
    log: &Log,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let mut all = ExtraRights::default();
    for rights in request.sources.iter().map(Source::extra_rights) {
        all.ports |= rights.ports;
        all.devices.extend(rights.devices);
    }
    rights::read_only(&all, log, work)?
}

/// Reports to Azure's fabric that the machine is ready.
pub fn report_ready(request: &Request, log: &Log) -> anyhow::Result<bool> {
    rights::read_only(&ExtraRights::default(), log, || datasource::report_ready(&request.fabric, log))?
        .context("cannot report to Azure that the machine is ready, which then counts as failed")?;
    log.info("Azure has the report that the machine is ready");
    Ok(true)
}

/// Prints the findings, as JSON on request. Returns whether there are none.
pub fn validate(request: &Request, json: bool, log: &Log) -> anyhow::Result<bool> {
    let (fetched, _) = fetch(request, RetryPolicy::Once, log)?;
    if json {
        let result = (!fetched.findings.is_empty()).then_some(&*fetched.findings);
        println!("{}", serde_json::to_string(&ValidationAnswer { result })?);
    }
    Ok(!fetched.broken && fetched.findings.is_empty())
}

/// Prints the user-data in another format, and on stderr what has no counterpart. Returns whether it succeeded.
pub fn convert(request: &Request, format: convert::Format, log: &Log) -> anyhow::Result<bool> {
    let (fetched, _) = fetch(request, RetryPolicy::Once, log)?;
    if fetched.broken {
        return Ok(false);
    }
    let is_invalid = fetched.findings.iter().any(|finding| finding.kind == Severity::Error);
    let converted = match convert::convert(&fetched.user_data, format) {
        Ok(_) if is_invalid => Err(ConvertError::Invalid),
        converted => converted,
    };
    let converted = converted.context("cannot convert")?;
    std::io::stdout().write_all(converted.text.as_bytes()).context("cannot print the result")?;
    for entry in &converted.unsupported {
        // No timestamps: this list is also read by programs.
        eprintln!("{entry}");
    }
    Ok(true)
}

/// Prints the steps. Returns whether a run would succeed, as far as that is known beforehand.
pub fn plan(request: &Request, log: &Log) -> anyhow::Result<bool> {
    let root = Root::open(&request.root)?;
    let (fetched, metadata) = read(request, log)?;
    let prepared = prepare(request, &root, &fetched.user_data, metadata, log)?;
    let text = plan::print(&prepared.plan).context("cannot print the plan")?;
    std::io::stdout().write_all(text.as_bytes()).context("cannot print the plan")?;
    Ok(is_successful(request, &fetched, &prepared) && prepared.refused.is_empty())
}

/// Runs all stages. Returns whether every step succeeded.
pub fn apply(request: &Request, log: &Log) -> anyhow::Result<bool> {
    let commands_deadline = apply::commands_deadline()?;
    let root = Root::open(&request.root)?;
    if root.is_machine() && !nix::unistd::Uid::effective().is_root() {
        bail!("only root may change this machine: run it with sudo, or with -plan to see what it would do");
    }
    let (mut fetched, mut metadata) = read(request, log)?;
    let lock = lock::acquire(&root, LOCK_PATH, |holder| {
        let process = holder.map(|id| format!(" (process {id})")).unwrap_or_default();
        log.info(format!("Waiting for another run to end{process}"));
    })?;
    // A later run may have held the lock before this one and applied newer content of the file.
    if matches!(&fetched.source, Source::File(path) if !fetched.broken && has_changed(path, &fetched.sha256))
    {
        (fetched, metadata) = read(request, log)?;
    }
    let applied_hash = match &fetched.source {
        Source::File(path) => Some(AppliedHash::new(path)),
        _ => None,
    };
    if let Some(applied_hash) = applied_hash.as_ref().filter(|_| request.if_changed)
        && applied_hash.matches(&root, &fetched.sha256)?
    {
        log.info("Nothing changed: this user-data was applied since the machine was started");
        return Ok(true);
    }
    let prepared = prepare(request, &root, &fetched.user_data, metadata, log)?;
    rights::warn_once_per_boot(&root, log);
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
    remember_for_boot(&root, &prepared)?;
    let may_run = root.is_machine() || request.root_run;
    let settings = Settings { root: &root, may_run, workspace: &request.workspace, commands_deadline, log };
    // Stored only now: a run killed earlier applied nothing, and the same file must be applied again.
    let written = || {
        if let Some(Err(error)) = applied_hash.as_ref().map(|hash| hash.store(&root, &fetched.sha256)) {
            log.warning(format!("Storing the user-data for the next run failed: {}", chain(&error)));
        }
    };
    let mut applied = apply::apply(&prepared.plan, &settings, lock, written);
    applied.failed.extend(prepared.refused.iter().cloned());
    save(request, &root, fetched.saved.as_ref(), log);
    if request.persist {
        persist(&root, &fetched, &prepared, log)?;
    }
    // Unusable user-data is not stamped: the next run must report it again.
    let is_complete = applied.failed.is_empty() && applied.missed.is_empty();
    if request.once && is_complete && !(fetched.broken || prepared.malformed) {
        state_file::write_durable(&root, &stamp_path, stamp.as_bytes())?;
    }
    log_summary(log, prepared.plan.steps.len(), applied.changed, applied.failed.len());
    let successful = is_successful(request, &fetched, &prepared) && applied.failed.is_empty();
    let report = Report {
        source: fetched.source.kind().to_owned(),
        kind: fetched.user_data.kind.name().to_owned(),
        sha256: fetched.sha256,
        findings: fetched.findings,
        failed: applied.failed,
        missed: applied.missed,
        scripts: applied.scripts,
        changed: applied.changed,
        steps: prepared.plan.steps.len(),
    };
    report::store(&root, &report)?;
    Ok(successful)
}

fn read(request: &Request, log: &Log) -> anyhow::Result<(Fetched, Metadata)> {
    read_only(request, log, || {
        let (fetched, cache) = fetch(request, RetryPolicy::Retry, log)?;
        let metadata = fetch_metadata(&fetched, &cache, log)?;
        Ok((Fetched { saved: cache.into_saved(), ..fetched }, metadata))
    })
}

fn log_summary(log: &Log, steps: usize, changed: u32, failed: usize) {
    match (changed, failed) {
        (0, 0) => log.info(format!("Nothing changed: all {steps} steps were done already")),
        (changed, 0) => log.info(format!("{changed} of {steps} steps changed something")),
        (changed, failed) => {
            log.error(format!("{changed} of {steps} steps changed something, {failed} failed"));
        }
    }
}

/// Stores what later runs of this boot need.
fn remember_for_boot(root: &Root, prepared: &Prepared) -> anyhow::Result<()> {
    if let Some(name) = &prepared.hostname {
        state_file::write_volatile(root, HOSTNAME_PATH, name.as_bytes())?;
    }
    if !prepared.keys.is_empty() {
        let keys = serde_json::to_vec(&prepared.keys).context("cannot write the keys as JSON")?;
        state_file::write_volatile(root, KEYS_PATH, &keys)?;
    }
    Ok(())
}

fn is_successful(request: &Request, fetched: &Fetched, prepared: &Prepared) -> bool {
    request.ignore_failure || !(fetched.broken || prepared.malformed)
}

/// Also returns the source's cached responses for later stages.
fn fetch(request: &Request, retry: RetryPolicy, log: &Log) -> anyhow::Result<(Fetched, Cache)> {
    let Chosen { source, found: Found { cache, user_data } } = choose(&request.sources, retry, log)?;
    log.info(format!("Fetching user-data from datasource of type {:?}", source.kind()));
    let mut broken = false;
    let fetched = user_data.map_or_else(|| source.user_data(&cache, retry, log), Ok);
    let raw = fetched.unwrap_or_else(|error| {
        log.error(format!("Failed fetching user-data from datasource: {}. Continuing...", chain(&error)));
        broken = true;
        Vec::new()
    });
    let sha256 = plan::sha256(&raw);
    let persisted = request.persist.then(|| raw.clone());
    let decoded = rights::parse_only(log, || decoded(raw, log))?;
    broken |= decoded.is_none();
    let (user_data, findings) = decoded
        .unwrap_or_else(|| (UserData { kind: Kind::Empty, text: Vec::new(), was_base64: false }, Vec::new()));
    Ok((Fetched { source, user_data, sha256, raw: persisted, findings, broken, saved: None }, cache))
}

/// Returns the decoded user-data and the findings; logs the reason and returns `None` if it cannot be decoded.
fn decoded(raw: Vec<u8>, log: &Log) -> Option<(UserData, Vec<Finding>)> {
    let user_data = match user_data::decode(raw) {
        Ok(user_data) => user_data,
        Err(error) => {
            log.error(format!(
                "Failed decompressing user-data from datasource: {}. Continuing...",
                chain(&error)
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

/// Runs without the lock: a slow service must not delay a run from another source.
fn fetch_metadata(fetched: &Fetched, cache: &Cache, log: &Log) -> anyhow::Result<Metadata> {
    log.info(format!("Fetching meta-data from datasource of type {:?}", fetched.source.kind()));
    fetched
        .source
        .metadata(cache, RetryPolicy::Retry, log)
        .context("Failed fetching meta-data from datasource")
}

/// Stores user-data that the platform does not provide again. The run has applied it: a failure is one of the next boots.
fn save(request: &Request, root: &Root, saved: Option<&Saved>, log: &Log) {
    let Some(saved) = saved else { return };
    let path = format!("{}/{AZURE_CUSTOM_DATA}", request.workspace.trim_end_matches('/'));
    let content = saved.content();
    // One line more than the largest user-data.
    let is_stored =
        files::read(root, &path, content.len() + 1).is_ok_and(|stored| stored.as_deref() == Some(&*content));
    if is_stored {
        return;
    }
    match state_file::write_durable(root, &path, &content) {
        Ok(()) => log.info(format!("Keeping the custom data in {path}")),
        Err(error) => {
            log.warning(format!("Storing the custom data for the next boots failed: {}", chain(&error)))
        }
    }
}

/// Keeps the user-data for the next boots unless the validator found an error.
fn persist(root: &Root, fetched: &Fetched, prepared: &Prepared, log: &Log) -> anyhow::Result<()> {
    let invalid = fetched.findings.iter().any(|finding| finding.kind == Severity::Error);
    match &fetched.raw {
        Some(raw) if !(invalid || fetched.broken || prepared.malformed) => {
            // Before the file changes: the path unit must not apply it again.
            AppliedHash::new(Path::new(PERSIST_PATH)).store(root, &fetched.sha256)?;
            state_file::write_durable(root, PERSIST_PATH, raw)?;
            log.info(format!("Keeping the user-data in {PERSIST_PATH}"));
        }
        _ => log.error("Not keeping the user-data: it is not valid"),
    }
    Ok(())
}
