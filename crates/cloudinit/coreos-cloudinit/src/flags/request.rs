//! Validates parsed flags to a request.

use std::path::{Path, PathBuf};

use cloudinit::convert::Format as Convert;
use cloudinit::network::Format;
use command_line::{BadFlag, ParsedArgs, ValueKind, before_arguments_or_help};

use super::table::{self, FLAGS};
use crate::datasource::{Service, Source, Url};

/// Relative to the root.
const KERNEL_COMMAND_LINE: &str = "proc/cmdline";
const SYSTEM_CREDENTIALS: &str = "run/credentials/@system";
/// In the workspace: custom data of Azure's provisioning disk.
pub const AZURE_CUSTOM_DATA: &str = "azure-custom-data";
pub const STDIN: &str = "-";
const VALIDATE_FORMATS: [&str; 2] = ["text", "json"];

/// The action to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Help,
    Version,
    Status,
    ReportReady,
    Validate { json: bool },
    Convert(Convert),
    Plan,
    Apply,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub task: Task,
    pub sources: Vec<Source>,
    /// Azure's fabric, for [`Task::ReportReady`].
    pub fabric: Url,
    pub root: PathBuf,
    /// Run helpers and call systemd although the root is not `/`.
    pub root_run: bool,
    pub ignore_failure: bool,
    pub once: bool,
    pub if_changed: bool,
    pub persist: bool,
    /// The format of the datasource's network config.
    pub convert_network: Option<Format>,
    /// Relative to the root.
    pub workspace: String,
    pub ssh_key_name: String,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// Printed on stderr, followed by the usage.
    #[error("{0}")]
    Flag(String),
    /// Printed on stdout, as the original does.
    #[error("{0}")]
    Value(String),
}

/// # Errors
/// The arguments are invalid; the error tells which stream reports it.
pub fn parse(arguments: &[String]) -> Result<Request, UsageError> {
    let mut args =
        before_arguments_or_help(FLAGS, arguments).map_err(|BadFlag(text)| UsageError::Flag(text))?;
    let mut request = Request {
        task: task(&args),
        sources: Vec::new(),
        fabric: Url::new(args.text_or_default("azure-report-ready")),
        root: PathBuf::from(args.text_or_default("root")),
        root_run: args.is_set("root-run"),
        ignore_failure: args.is_set("ignore-failure"),
        once: args.is_set("once"),
        if_changed: args.is_set("if-changed"),
        persist: args.is_set("persist"),
        convert_network: None,
        workspace: args.text_or_default("workspace").to_owned(),
        ssh_key_name: args.text_or_default("ssh-key-name").to_owned(),
    };
    if request.task == Task::Help {
        return Ok(request);
    }
    apply_preset(&mut args)?;
    if matches!(request.task, Task::Version | Task::Status | Task::ReportReady) {
        return Ok(request);
    }
    check_values(&args)?;
    request.convert_network = Format::parse(args.text_or_default("convert-netconf"));
    request.sources = sources(&args)?;
    if request.if_changed && !matches!(*request.sources, [Source::File(_)]) {
        return Err(UsageError::Value("-if-changed is for one -from-file".to_owned()));
    }
    Ok(request)
}

fn task(args: &ParsedArgs) -> Task {
    let tasks = [
        (args.wants_help(), Task::Help),
        (args.is_set("version"), Task::Version),
        (args.is_set("status"), Task::Status),
        (!args.text_or_default("azure-report-ready").is_empty(), Task::ReportReady),
        (args.is_set("validate"), Task::Validate { json: args.text_or_default("validate-format") == "json" }),
    ];
    let task = tasks.into_iter().find(|(is_set, _)| *is_set).map(|(_, task)| task);
    let convert = || Convert::parse(args.text_or_default("convert")).map(Task::Convert);
    let plan = || (args.is_set("plan") || args.is_set("dry-run")).then_some(Task::Plan);
    task.or_else(convert).or_else(plan).unwrap_or(Task::Apply)
}

/// Flags on the command line take precedence over the preset.
fn apply_preset(args: &mut ParsedArgs) -> Result<(), UsageError> {
    let name = args.text_or_default("oem").to_owned();
    if name.is_empty() {
        return Ok(());
    }
    let Some((_, flags)) = table::PRESETS.iter().find(|(preset, _)| *preset == name) else {
        let names: Vec<_> = table::PRESETS.iter().map(|(preset, _)| format!("{preset:?}")).collect();
        return Err(UsageError::Value(format!(
            "Invalid option to -oem: {name:?}. Supported options: [{}]",
            names.join(" ")
        )));
    };
    for (flag, value) in *flags {
        args.set_default(flag, value);
    }
    Ok(())
}

fn check_values(args: &ParsedArgs) -> Result<(), UsageError> {
    let network = args.text_or_default("convert-netconf");
    if !network.is_empty() && !table::NETWORK_FORMATS.contains(&network) {
        return Err(UsageError::Value(format!(
            "Invalid option to -convert-netconf: '{network}'. Supported options: '{}'",
            table::NETWORK_FORMATS.join(", ")
        )));
    }
    let format = args.text_or_default("convert");
    if !format.is_empty() && Convert::parse(format).is_none() {
        return Err(UsageError::Value(format!(
            "Invalid option to -convert: '{format}'. Supported options: '{}'",
            Convert::NAMES.join(", ")
        )));
    }
    let format = args.text_or_default("validate-format");
    if !VALIDATE_FORMATS.contains(&format) {
        return Err(UsageError::Value(format!(
            "Invalid option to -validate-format: '{format}'. Supported options: 'text, json'"
        )));
    }
    let name = args.text_or_default("ssh-key-name");
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']) {
        return Err(UsageError::Value(format!("Invalid option to -ssh-key-name: '{name}' is no file name")));
    }
    let credential = args.text_or_default("from-credential");
    if credential.starts_with('.') || credential.contains(['/', '\0', '\n']) {
        return Err(UsageError::Value(format!(
            "Invalid option to -from-credential: '{credential}' is no file name"
        )));
    }
    Ok(())
}

/// In the order of the table, which ranks sources that are available at the same time.
fn sources(args: &ParsedArgs) -> Result<Vec<Source>, UsageError> {
    let mut sources = Vec::new();
    for flag in table::SOURCES {
        if *flag == "from-ec2-metadata" && args.is_set("from-metadata-service") {
            sources.push(Source::Service(Service::Ec2, Url::new(table::LINK_LOCAL)));
        }
        sources.extend(source(args, flag).filter(|source| !sources.contains(source)));
    }
    combine_azure(&mut sources, args.text_or_default("workspace"), Path::new(args.text_or_default("root")));
    if sources.is_empty() {
        let flags: Vec<_> = table::SOURCES.iter().map(|flag| format!("--{flag}")).collect();
        return Err(UsageError::Value(format!("Provide at least one of {}", flags.join(", "))));
    }
    Ok(sources)
}

/// Service and disk of Azure are one source: each has what the other lacks.
fn combine_azure(sources: &mut Vec<Source>, workspace: &str, root: &Path) {
    let disk = sources.iter().position(|source| matches!(source, Source::AzureOvfEnvironment(_)));
    let service = sources.iter().position(|source| matches!(source, Source::Service(Service::Azure, _)));
    let (Some(disk), Some(service)) = (disk, service) else { return };
    // Ranked after the services: its index is the greater one.
    let disk = sources.remove(disk);
    if let (Source::AzureOvfEnvironment(disk), Source::Service(_, url)) = (disk, &sources[service]) {
        let saved = root.join(workspace.trim_start_matches('/')).join(AZURE_CUSTOM_DATA);
        sources[service] = Source::Azure { service: url.clone(), disk, saved };
    }
}

/// The source of one flag, `None` if the flag is unset.
fn source(args: &ParsedArgs, flag: &str) -> Option<Source> {
    let text = args.text_or_default(flag);
    // Not the current default, which `-oem` sets.
    let is_switch = FLAGS.iter().any(|one| one.name() == flag && one.value_kind == ValueKind::Switch);
    if text == if is_switch { "false" } else { "" } {
        return None;
    }
    let service = |service| Some(Source::Service(service, Url::new(text)));
    match flag {
        "from-file" if text == STDIN => Some(Source::Stdin),
        "from-file" => Some(Source::File(text.into())),
        "from-configdrive" => Some(Source::ConfigDrive(text.into())),
        "from-url" => Some(Source::Url(Url::new(text))),
        "from-ec2-metadata" => service(Service::Ec2),
        "from-gce-metadata" => service(Service::Gce),
        "from-digitalocean-metadata" => service(Service::DigitalOcean),
        "from-packet-metadata" => service(Service::Packet),
        "from-azure-metadata" => service(Service::Azure),
        "from-openstack-metadata" => service(Service::OpenStack),
        "from-proc-cmdline" => Some(Source::KernelCommandLine(
            PathBuf::from(args.text_or_default("root")).join(KERNEL_COMMAND_LINE),
        )),
        "from-fw-cfg" => Some(Source::FwCfg),
        "from-credential" => {
            let system = PathBuf::from(args.text_or_default("root")).join(SYSTEM_CREDENTIALS);
            Some(Source::Credential { name: text.to_owned(), system })
        }
        "from-nocloud" => Some(Source::NoCloud(text.into())),
        "from-waagent" => Some(Source::Waagent(text.into())),
        "from-azure-ovf-env" => Some(Source::AzureOvfEnvironment(text.into())),
        "from-vmware-ovf-env" => Some(Source::VmwareOvfEnvironment(text.into())),
        "from-vmware-guestinfo" => Some(Source::VmwareGuestinfo(args.text_or_default("root").into())),
        "from-cloudsigma-metadata" => Some(Source::CloudSigma(args.text_or_default("root").into())),
        "from-virtualbox" => Some(Source::VirtualBox(args.text_or_default("root").into())),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
