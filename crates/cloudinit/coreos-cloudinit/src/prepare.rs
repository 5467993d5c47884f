//! The planning stage of a run: interprets the user-data, observes the machine, and builds the plan, each in a thread
//! with the rights that it needs.

use anyhow::Context;
use cloudinit::check::{Checked, Refusal};
use cloudinit::interpretation::{TokenValues, interpret};
use cloudinit::metadata::{Metadata, NetworkSource, merge};
use cloudinit::network::{self, Format, Network};
use cloudinit::plan::{self, Facts, Plan, Settings};
use cloudinit::template::Addresses;
use cloudinit::user_data::UserData;
use host::accounts::AccountError;
use host::{Root, files};

use crate::flags::Request;
use crate::log::Log;
use crate::observe;
use crate::report::Failure;
use crate::rights::{self, ExtraRights};
use crate::state_file;

/// The hostname that user-data set since boot.
pub const HOSTNAME_PATH: &str = "/run/coreos-cloudinit/hostname";
/// The keys that metadata set for `core` since boot: JSON pairs of name and key.
pub const KEYS_PATH: &str = "/run/coreos-cloudinit/keys";
const MAX_KEYS_BYTES: usize = 64 * 1024;

/// The outcome of the planning stage.
#[derive(Default)]
pub struct Prepared {
    pub plan: Plan,
    /// The user-data was fetched but is unusable.
    pub malformed: bool,
    /// Steps refused at planning time; the others are still applied.
    pub refused: Vec<Failure>,
    /// The user-data is in another program's format and is left to it.
    pub foreign: bool,
    pub instance: Option<String>,
    /// The hostname in the user-data.
    pub hostname: Option<String>,
    /// The metadata's SSH keys, by name.
    pub keys: Vec<(String, String)>,
}

/// What the plan is built from.
struct Inputs {
    checked: Checked,
    scripts: Vec<Vec<u8>>,
    addresses: Addresses,
    /// Without accounts.
    facts: Facts,
}

/// # Errors
/// The network config is not valid, the machine cannot be observed, or rights cannot be dropped.
pub fn prepare(
    request: &Request,
    root: &Root,
    user_data: &UserData,
    metadata: Metadata,
    log: &Log,
) -> anyhow::Result<Prepared> {
    let (prepared, inputs) = rights::read_only(&ExtraRights::default(), log, || {
        interpreted(request, root, user_data, metadata, log)
    })??;
    let Some(mut inputs) = inputs else { return Ok(prepared) };
    // The machine's name service modules, such as systemd's, which asks a service.
    let services = ExtraRights { services: true, ..ExtraRights::default() };
    let plan = rights::read_only(&services, log, || {
        observe::accounts(root, &inputs.checked, &mut inputs.facts)?;
        Ok::<_, AccountError>(build_plan(request, &inputs, log))
    })?;
    Ok(Prepared { plan: plan.context("cannot look at the machine")?, ..prepared })
}

/// Returns no inputs if the user-data is another program's.
fn interpreted(
    request: &Request,
    root: &Root,
    user_data: &UserData,
    mut metadata: Metadata,
    log: &Log,
) -> anyhow::Result<(Prepared, Option<Inputs>)> {
    let environment = observe::environment_addresses(root, log).context("cannot look at the machine")?;
    let addresses = metadata.addresses.clone().or(environment);
    let tokens = TokenValues::Addresses(&addresses);
    let interpretation =
        rights::parse_only(log, || interpret(user_data, tokens, &mut |message| log.forward(&message)))?;
    let mut prepared = Prepared { instance: metadata.instance.clone(), ..Prepared::default() };
    if interpretation.foreign {
        return Ok((Prepared { foreign: true, ..prepared }, None));
    }
    log.info("Merging cloud-config from meta-data and user-data");
    let checked = interpretation.checked;
    prepared.malformed = interpretation.malformed;
    prepared.refused = checked.skipped.iter().map(|entry| refusal_to_failure(entry, log)).collect();
    prepared.hostname = checked.hostname.clone();
    prepared.keys = metadata.keys.clone();
    // The user-data's keys replace all keys under their name, the metadata's included, and a file source
    // carries no metadata: without the stored keys, the operator whose key came with the metadata would be
    // locked out.
    if metadata.keys.is_empty() && !checked.core_keys.is_empty() {
        metadata.keys = stored_keys(root, log)?;
    }
    let hostname = files::read(root, HOSTNAME_PATH, state_file::MAX_STAMP_BYTES);
    let hostname = observe::if_permitted(HOSTNAME_PATH, hostname, log)?;
    let hostname = hostname.as_deref().and_then(|hostname| str::from_utf8(hostname).ok());
    let mut checked = merge(checked, &metadata, hostname);
    if let Some(format) = request.convert_network {
        checked.network = rights::parse_only(log, || network(format, &metadata, log))??;
    } else if matches!(metadata.network, Some(NetworkSource::CloudInit(_))) {
        log.warning("Warning: ignoring network-config, which is converted with -convert-netconf=cloud-init");
    }
    let facts = observe::facts(root, &checked, log).context("cannot look at the machine")?;
    let inputs = Inputs { checked, scripts: interpretation.scripts, addresses, facts };
    Ok((prepared, Some(inputs)))
}

/// The keys that metadata brought since boot.
fn stored_keys(root: &Root, log: &Log) -> anyhow::Result<Vec<(String, String)>> {
    let persisted = observe::if_permitted(KEYS_PATH, files::read(root, KEYS_PATH, MAX_KEYS_BYTES), log)?;
    Ok(persisted.and_then(|persisted| serde_json::from_slice(&persisted).ok()).unwrap_or_default())
}

/// Fails as a whole: a half-configured network may leave the machine unreachable.
fn network(format: Format, metadata: &Metadata, log: &Log) -> anyhow::Result<Network> {
    let Some(source) = &metadata.network else {
        log.info("no network config to convert");
        return Ok(Network::default());
    };
    log.info(format!("Converting network config of format {:?}", format.name()));
    network::convert(format, source).context("Failed to generate interfaces")
}

/// The rest of the config is applied, but the run counts as failed.
fn refusal_to_failure(refusal: &Refusal, log: &Log) -> Failure {
    log.error(format!("Failed to apply cloud-config: {} (line {})", refusal.failure, refusal.location.line));
    Failure { step: format!("line {}", refusal.location.line), error: refusal.failure.clone() }
}

fn build_plan(request: &Request, inputs: &Inputs, log: &Log) -> Plan {
    let settings = Settings { ssh_key_name: request.ssh_key_name.clone() };
    let mut plan = plan::plan(&inputs.checked, &inputs.addresses, &inputs.facts, &settings);
    plan::add_scripts(&mut plan, &inputs.checked.system.commands, &inputs.scripts);
    for note in &plan.notes {
        if note.starts_with("Warning") { log.warning(note) } else { log.info(note) }
    }
    plan
}
