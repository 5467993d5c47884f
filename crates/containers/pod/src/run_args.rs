//! The command line of `rkt run` and `rkt prepare`: `[FLAGS] IMAGE [APP FLAGS] [-- ARGUMENTS] [--- IMAGE ...]`.

use command_line::{BadFlag, Flag, ParsedArgs, ValueKind, before_arguments};

use crate::app_name::check_app_name;
use crate::capabilities::Capabilities;
use crate::limits::{MAX_APPS, MAX_ENTRIES, MAX_HOSTNAME};
use crate::manifest::{Dns, HostsEntry};
use crate::network::{NetworkMode, PortForward};
use crate::quantity::{parse_cpu, parse_memory};
use crate::request_error::RequestError;
use crate::run_flags;
use crate::volume::{Mount, Volume};

const ARGUMENTS: &str = "--";
const NEXT_IMAGE: &str = "---";

/// What the command line requests.
#[derive(Debug)]
pub struct PodRequest {
    /// Flags of the pod and of the program.
    pub flags: ParsedArgs,
    /// The apps.
    pub apps: Vec<AppRequest>,
    /// The network.
    pub network: NetworkMode,
    /// Forwarded ports.
    pub ports: Vec<PortForward>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Resolvers.
    pub dns: Dns,
    /// Entries of `/etc/hosts`.
    pub hosts: Vec<HostsEntry>,
    /// Environment variables of all apps.
    pub environment: Vec<(String, String)>,
    /// The host name.
    pub hostname: Option<String>,
    /// Whether the only app has the terminal.
    pub interactive: bool,
    /// Whether apps run without isolation.
    pub fly: bool,
}

/// An app of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct AppRequest {
    /// As the user wrote it.
    pub image: String,
    /// Arguments after `--`.
    pub arguments: Vec<String>,
    /// `--exec`.
    pub exec: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--environment`.
    pub environment: Vec<(String, String)>,
    /// `--user`.
    pub user: Option<String>,
    /// `--group`.
    pub group: Option<String>,
    /// `--supplementary-gids`.
    pub groups: Vec<u32>,
    /// `--working-dir`.
    pub directory: Option<String>,
    /// `--readonly-rootfs`.
    pub read_only: bool,
    /// Mounts of this app, after those of all apps.
    pub mounts: Vec<Mount>,
    /// Capabilities.
    pub capabilities: Capabilities,
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub cpu: Option<u64>,
    /// `--oom-score-adj`.
    pub oom_score_adj: Option<i32>,
    /// A file with a signature of minisign.
    pub signature: Option<String>,
}

/// Flags that rkt has and this program refuses, with what to do instead.
const REFUSED: [(&str, &str); 5] = [
    ("no-overlay", "root file systems of apps are overlays"),
    ("private-users", "apps run in the host's user namespace; use --user"),
    ("pod-manifest", "there are no App Container images; list the images on the command line"),
    ("stage1-hash", "there are no stage1 images"),
    ("seccomp", "--insecure-options=seccomp switches the filter off"),
];

/// Parses arguments after the command's name. `global`: flags of the program.
///
/// # Errors
/// The command line is invalid; the message names the part and what would be right.
pub fn parse(global: &[Flag], arguments: &[String]) -> Result<PodRequest, RequestError> {
    let mut all: Vec<Flag> = global.iter().chain(run_flags::POD).copied().collect();
    all.extend(run_flags::APP.iter().copied());
    let mut pod = Segment::default();
    let mut apps: Vec<(String, Segment, Vec<String>)> = Vec::new();
    let mut rest = arguments;
    while let Some(first) = rest.first() {
        if first == NEXT_IMAGE {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        if first == ARGUMENTS {
            let after = rest.get(1..).unwrap_or_default();
            let end = after.iter().position(|argument| argument == NEXT_IMAGE).unwrap_or(after.len());
            let (own, next) = after.split_at(end);
            let (_, _, arguments) = apps.last_mut().ok_or(RequestError::NoImageBeforeArguments)?;
            arguments.extend_from_slice(own);
            rest = next;
            continue;
        }
        let is_end = |argument: &String| argument == ARGUMENTS || argument == NEXT_IMAGE;
        let end = rest.iter().position(is_end).unwrap_or(rest.len());
        let (segment, next) = rest.split_at(end);
        let parsed = before_arguments(&all, segment).map_err(|BadFlag(text)| RequestError::Flag(text))?;
        let used = segment.len() - parsed.arguments.len();
        let flags = segment.get(..used).unwrap_or_default();
        apps.last_mut().map_or(&mut pod, |(_, segment, _)| segment).0.extend_from_slice(flags);
        match parsed.arguments.split_first() {
            Some((image, _)) => {
                apps.push((image.clone(), Segment::default(), Vec::new()));
                rest = rest.get(used + 1..).unwrap_or_default();
            }
            None => rest = next,
        }
        if apps.len() > MAX_APPS {
            return Err(RequestError::Apps);
        }
    }
    request(&all, pod, apps)
}

/// Consecutive flags with their values.
#[derive(Default)]
struct Segment(Vec<String>);

impl Segment {
    fn parse(&self, all: &[Flag]) -> Result<ParsedArgs, RequestError> {
        let parsed = before_arguments(all, &self.0).map_err(|BadFlag(text)| RequestError::Flag(text))?;
        for flag in all {
            let ValueKind::OneOf(choices) = flag.value_kind else { continue };
            let other = parsed.texts(flag.name()).iter().find(|value| !choices.contains(&value.as_str()));
            if let Some(value) = other {
                let (value, expected) = (value.clone(), choices.join(", "));
                return Err(RequestError::Choice { flag: flag.name(), value, expected });
            }
        }
        Ok(parsed)
    }
}

fn request(
    all: &[Flag],
    pod: Segment,
    apps: Vec<(String, Segment, Vec<String>)>,
) -> Result<PodRequest, RequestError> {
    let before = pod.parse(all)?;
    for flag in run_flags::APP {
        if !before.texts(flag.name()).is_empty() {
            return Err(RequestError::NoImageBefore(flag.name()));
        }
    }
    let common = mounts(&before)?;
    let mut parsed_apps = Vec::new();
    // Flags of the pod are unambiguous after an image, too, except mounts.
    let mut pod_flags = pod.0;
    for (image, segment, arguments) in apps {
        parsed_apps.push(app(image, &segment.parse(all)?, arguments, &common)?);
        pod_flags.extend(segment.0);
    }
    let flags = Segment(pod_flags).parse(all)?;
    if flags.wants_help() {
        return Ok(empty(flags));
    }
    if parsed_apps.is_empty() {
        return Err(RequestError::NoImage);
    }
    for (flag, reason) in REFUSED {
        let value = flags.text(flag);
        if value.is_some_and(|value| value != "false") {
            return Err(RequestError::Refused { flag, reason });
        }
    }
    let fly = stage1(&flags)?;
    let request = PodRequest {
        network: if fly { NetworkMode::Host } else { flags.text_or_default("net").parse()? },
        ports: values(&flags, "port")?,
        volumes: values(&flags, "volume")?,
        dns: dns(&flags)?,
        hosts: hosts(&flags)?,
        environment: environment("--set-env", flags.texts("set-env"))?,
        hostname: flags.text("hostname").map(hostname).transpose()?,
        interactive: flags.is_set("interactive"),
        fly,
        apps: parsed_apps,
        flags,
    };
    check(&request)?;
    Ok(request)
}

fn empty(flags: ParsedArgs) -> PodRequest {
    PodRequest {
        flags,
        apps: Vec::new(),
        network: NetworkMode::None,
        ports: Vec::new(),
        volumes: Vec::new(),
        dns: Dns::default(),
        hosts: Vec::new(),
        environment: Vec::new(),
        hostname: None,
        interactive: false,
        fly: false,
    }
}

fn check(request: &PodRequest) -> Result<(), RequestError> {
    if request.interactive && request.apps.len() != 1 {
        return Err(RequestError::Interactive(request.apps.len()));
    }
    if !request.ports.is_empty() && !matches!(request.network, NetworkMode::Default | NetworkMode::Flannel) {
        return Err(RequestError::PortNetwork(request.network));
    }
    for (at, volume) in request.volumes.iter().enumerate() {
        if request.volumes.iter().take(at).any(|other| other.name == volume.name) {
            return Err(RequestError::VolumeTwice(volume.name.clone()));
        }
    }
    let mut names: Vec<&str> = request.apps.iter().filter_map(|app| app.name.as_deref()).collect();
    names.sort_unstable();
    if let Some([same, _]) = names.array_windows().find(|[one, other]| one == other) {
        return Err(RequestError::SameName((*same).to_owned()));
    }
    for mount in request.apps.iter().flat_map(|app| &app.mounts) {
        if request.volumes.iter().all(|volume| volume.name != mount.volume) {
            return Err(RequestError::NoVolume(mount.volume.clone()));
        }
    }
    Ok(())
}

fn app(
    image: String,
    flags: &ParsedArgs,
    arguments: Vec<String>,
    common: &[Mount],
) -> Result<AppRequest, RequestError> {
    let name = flags.text("name").map(str::to_owned);
    name.as_deref().map_or(Ok(()), check_app_name)?;
    let exec = flags.text("exec").map(str::to_owned);
    if exec.as_ref().is_some_and(String::is_empty) {
        return Err(RequestError::Exec);
    }
    let oom_score_adj = flags.integer("oom-score-adj");
    let oom_score_adj = oom_score_adj
        .map(|score| match i32::try_from(score) {
            Ok(score) if (-1000..=1000).contains(&score) => Ok(score),
            _ => Err(RequestError::OomScore(score)),
        })
        .transpose()?;
    let groups = flags.text("supplementary-gids").map_or(Ok(Vec::new()), |text| {
        let groups: Result<_, _> = text.split(',').map(str::parse).collect();
        groups.map_err(|_| RequestError::Groups(text.to_owned()))
    })?;
    // A mount of this app replaces one of all apps at the same path.
    let own = mounts(flags)?;
    let mut all: Vec<Mount> = common.to_vec();
    all.retain(|mount| own.iter().all(|other| other.target != mount.target));
    all.extend(own);
    Ok(AppRequest {
        image,
        arguments,
        exec,
        name,
        environment: environment("--environment", flags.texts("environment"))?,
        user: flags.text("user").map(str::to_owned),
        group: flags.text("group").map(str::to_owned),
        groups,
        directory: flags.text("working-dir").map(str::to_owned),
        read_only: flags.is_set("readonly-rootfs"),
        mounts: all,
        capabilities: Capabilities::parse(flags.texts("caps-retain"), flags.texts("caps-remove"))?,
        memory: flags.text("memory").map(parse_memory).transpose()?,
        cpu: flags.text("cpu").map(parse_cpu).transpose()?,
        oom_score_adj,
        signature: flags.text("signature").map(str::to_owned),
    })
}

fn values<T: std::str::FromStr>(flags: &ParsedArgs, name: &'static str) -> Result<Vec<T>, RequestError>
where
    RequestError: From<T::Err>,
{
    let texts = flags.texts(name);
    if texts.len() > MAX_ENTRIES {
        return Err(RequestError::Entries(name));
    }
    texts.iter().map(|text| Ok(text.parse()?)).collect()
}

fn mounts(flags: &ParsedArgs) -> Result<Vec<Mount>, RequestError> {
    values(flags, "mount")
}

/// The last variable of a name counts when the settings are combined.
fn environment(flag: &'static str, texts: &[String]) -> Result<Vec<(String, String)>, RequestError> {
    let parse = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(RequestError::Environment { flag, value: text.clone() }),
    };
    texts.iter().map(parse).collect()
}

fn dns(flags: &ParsedArgs) -> Result<Dns, RequestError> {
    let servers = flags.texts("dns").to_vec();
    for server in &servers {
        let is_word = ["host", "none"].contains(&server.as_str()) && servers.len() == 1;
        if !is_word && server.parse::<std::net::IpAddr>().is_err() {
            return Err(RequestError::Dns(server.clone()));
        }
    }
    let words = |flag: &'static str| {
        let invalid = |text: &&String| {
            text.is_empty() || text.chars().any(|char| char.is_whitespace() || char.is_control())
        };
        match flags.texts(flag).iter().find(invalid) {
            Some(value) => Err(RequestError::Text { flag, value: value.clone() }),
            None => Ok(flags.texts(flag).to_vec()),
        }
    };
    let domain = words("dns-domain")?.pop();
    Ok(Dns { servers, search: words("dns-search")?, options: words("dns-opt")?, domain })
}

fn hosts(flags: &ParsedArgs) -> Result<Vec<HostsEntry>, RequestError> {
    let parse = |text: &String| {
        if text == "host" {
            return Ok(HostsEntry::Host);
        }
        let refused = || RequestError::Hosts(text.clone());
        let (address, name) = text.split_once('=').ok_or_else(refused)?;
        let is_name = !name.is_empty() && !name.chars().any(|char| char.is_whitespace() || char.is_control());
        if address.parse::<std::net::IpAddr>().is_err() || !is_name {
            return Err(refused());
        }
        Ok(HostsEntry::Address(address.to_owned(), name.to_owned()))
    };
    let texts = flags.texts("hosts-entry");
    if texts.len() > MAX_ENTRIES {
        return Err(RequestError::Entries("hosts-entry"));
    }
    texts.iter().map(parse).collect()
}

fn hostname(text: &str) -> Result<String, RequestError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if !text.is_empty() && text.len() <= MAX_HOSTNAME && text.bytes().all(valid) {
        Ok(text.to_owned())
    } else {
        Err(RequestError::Hostname(text.to_owned()))
    }
}

/// Whether apps run as with stage1 "fly". The default stage1 may be named.
fn stage1(flags: &ParsedArgs) -> Result<bool, RequestError> {
    let reason = "only the default stage1 and stage1-fly have an equivalent";
    for flag in ["stage1-from-dir", "stage1-name", "stage1-path", "stage1-url"] {
        let Some(value) = flags.text(flag) else { continue };
        let file = value.rsplit('/').next().unwrap_or_default();
        let name = file.split([':', ',', '.']).next().unwrap_or_default();
        match name {
            "stage1-fly" => return Ok(true),
            "stage1-coreos" | "stage1" => {}
            "stage1-kvm" => {
                return Err(RequestError::Refused { flag, reason: "pods do not run in virtual machines" });
            }
            _ => return Err(RequestError::Refused { flag, reason }),
        }
    }
    Ok(false)
}

#[cfg(test)]
#[path = "run_args_tests.rs"]
mod tests;
