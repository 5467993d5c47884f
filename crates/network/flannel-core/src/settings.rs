//! flanneld's settings: flags, and the variables `FLANNELD_*`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use command_line::{
    EmptyFlag, Environment, Flag, Origin, ParsedArgs, SettingError, SettingSource, ValueKind,
};
use regex::Regex;

use crate::interface::InterfaceChoice;

/// The flags of flannel 0.11; after them Keelson's.
pub const FLAGS: &[Flag] = &[
    Flag::new(
        "etcd-cafile",
        ValueKind::File,
        "SSL Certificate Authority file used to secure etcd communication",
    ),
    Flag::new("etcd-certfile", ValueKind::File, "SSL certification file used to secure etcd communication"),
    Flag::new("etcd-endpoints", ValueKind::Text, "a comma-delimited list of etcd endpoints")
        .default("http://127.0.0.1:4001,http://127.0.0.1:2379"),
    Flag::new("etcd-keyfile", ValueKind::File, "SSL key file used to secure etcd communication"),
    Flag::new("etcd-password", ValueKind::Text, "password for BasicAuth to etcd"),
    Flag::new("etcd-prefix", ValueKind::Text, "etcd prefix").default("/coreos.com/network"),
    Flag::new("etcd-username", ValueKind::Text, "username for BasicAuth to etcd"),
    Flag::new("healthz-ip", ValueKind::Text, "the IP address of the healthz server").default("0.0.0.0"),
    Flag::new("healthz-port", ValueKind::Number, "the port of the healthz server; 0 disables it")
        .default("0"),
    Flag::new(
        "iface",
        ValueKind::Text,
        "interface (IP or name) to the other hosts; several are tried in order; the default route's if none is given",
    ),
    Flag::new("iface-regex", ValueKind::Text, "pattern of an interface's IP or name; tried after all -iface"),
    Flag::switch("ip-masq", "setup IP masquerade rule for traffic destined outside of overlay network"),
    Flag::switch("iptables-forward-rules", "accept the network's packets in the FORWARD chain")
        .default("true"),
    Flag::new("iptables-resync", ValueKind::Number, "seconds between two checks of the rules").default("5"),
    Flag::new("public-ip", ValueKind::Text, "IP accessible by other nodes for inter-host communication"),
    Flag::new("subnet-file", ValueKind::File, "file for the lease's subnet and MTU, read by Docker's unit")
        .default("/run/flannel/subnet.env"),
    Flag::new(
        "subnet-lease-renew-margin",
        ValueKind::Number,
        "minutes before its end in which a lease is renewed, 1 to 1439",
    )
    .default("60"),
    Flag::switch("version", "print version and exit"),
    Flag::new("default-backend", ValueKind::Text, "type of the backend if the configuration has none")
        .default("udp"),
    Flag::new(
        "wireguard-key-file",
        ValueKind::File,
        "file of the private key of backend wireguard, created if it is absent; else $WIREGUARD_KEY_FILE",
    )
    .default("/run/flannel/wgkey"),
    Flag::switch("plan", "print what would be changed, with reasons, and exit; changes nothing"),
    Flag::switch("teardown", "remove devices, routes and rules of flanneld, and exit; keeps the lease"),
    Flag::new("v", ValueKind::Number, "log level for V logs").hidden(),
    Flag::new("vmodule", ValueKind::Text, "accepted, without effect").hidden(),
    Flag::new("log_backtrace_at", ValueKind::Text, "accepted, without effect").hidden(),
    Flag::switch("kube-subnet-mgr", "refused: Kubernetes assigns no subnets here").hidden(),
    Flag::new("kube-api-url", ValueKind::Text, "refused").hidden(),
    Flag::new("kube-annotation-prefix", ValueKind::Text, "refused").hidden(),
    Flag::new("kubeconfig-file", ValueKind::Text, "refused").hidden(),
    Flag::new("net-config-path", ValueKind::Text, "refused").hidden(),
    Flag::new("networks", ValueKind::Text, "refused: flannel removed it in 0.8").hidden(),
    Flag::new("watch-networks", ValueKind::Text, "refused: flannel removed it in 0.8").hidden(),
    Flag::new("listen", ValueKind::Text, "refused: flannel removed it in 0.8").hidden(),
    Flag::new("remote", ValueKind::Text, "refused: flannel removed it in 0.8").hidden(),
    Flag::new("subnet-dir", ValueKind::Text, "refused: flannel removed it in 0.8").hidden(),
];

/// Flags that name a part of flannel that Keelson does not have, with the reason.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["kube-subnet-mgr", "kube-api-url", "kube-annotation-prefix", "kubeconfig-file", "net-config-path"],
        "Kubernetes as the source of subnets is not supported: leases are in etcd, see -etcd-endpoints",
    ),
    (
        &["networks", "watch-networks", "listen", "remote", "subnet-dir"],
        "several networks, and flanneld as a server of leases, were removed in flannel 0.8: start a flanneld per network, \
         with its own -etcd-prefix and -subnet-file",
    ),
];

/// What the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Lease a subnet and keep the tables, until a signal.
    Run,
    /// Print the plan.
    Plan,
    /// Remove what flanneld created.
    Teardown,
}

/// The daemon's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to do.
    pub invocation: Invocation,
    /// The store.
    pub store: StoreSettings,
    /// Which interface leads to the other hosts.
    pub interface: InterfaceChoice,
    /// Where the subnet file is.
    pub subnet_file: PathBuf,
    /// Time before the end of a lease at which it is renewed at the latest.
    pub renew_margin: Duration,
    /// Whether packets that leave the network get the host's address.
    pub ip_masq: bool,
    /// Whether the network's packets are accepted in the FORWARD chain.
    pub forward_rules: bool,
    /// Time between two checks of the rules.
    pub rules_interval: Duration,
    /// Where `/healthz` is served.
    pub healthz: Option<SocketAddr>,
    /// The backend of a configuration without one.
    pub default_backend: String,
    /// The private key of backend wireguard.
    pub wireguard_key_file: PathBuf,
    /// A lost subnet is given up although containers use it: `FLANNELD_FORCE_RELEASE`.
    pub force_release: bool,
}

/// The store with its keys.
#[derive(Clone)]
pub struct StoreSettings {
    /// At least one; not validated here.
    pub endpoints: Vec<String>,
    /// The directory of the network's keys; begins with `/` and has no `/` at its end.
    pub prefix: String,
    /// File of certificates that sign the server's.
    pub ca: Option<PathBuf>,
    /// Files of the client's certificate and key.
    pub pair: Option<(PathBuf, PathBuf)>,
    /// Name and password.
    pub user: Option<(String, String)>,
}

impl std::fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSettings").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// Reads the settings; a flag overrides its variable.
///
/// # Errors
/// A setting is invalid, or names a part that Keelson does not have.
pub fn settings(args: &ParsedArgs, environment: Environment<'_>) -> Result<Settings, SettingError> {
    let source =
        SettingSource { args, environment, prefix: "FLANNELD", empty_flag: EmptyFlag::HidesVariable };
    for (flags, reason) in REFUSED {
        for flag in *flags {
            match source.find(flag) {
                Some((origin, value)) if value != "false" => return Err(SettingError::new(origin, reason)),
                _ => {}
            }
        }
    }
    let switch = |flag| source.read_or_default(flag, parse_switch);
    let invocation = match (switch("plan")?, switch("teardown")?) {
        (true, true) => return Err(SettingError::new(Origin::Flag("plan"), "it excludes -teardown")),
        (true, false) => Invocation::Plan,
        (false, true) => Invocation::Teardown,
        (false, false) => Invocation::Run,
    };
    let healthz_ip = source.read_or_default("healthz-ip", |text| text.parse::<IpAddr>())?;
    let healthz_port = source.read_or_default("healthz-port", |text| text.parse::<u16>())?;
    let minutes = source.read_or_default("subnet-lease-renew-margin", |text| {
        let minutes = text.parse::<u32>().ok().filter(|minutes| (1..24 * 60).contains(minutes));
        minutes.ok_or_else(|| format!("{text}: minutes from 1 to 1439 are required"))
    })?;
    let seconds = source.read_or_default("iptables-resync", |text| {
        let seconds = text.parse::<u32>().ok().filter(|seconds| (1..=24 * 3600).contains(seconds));
        seconds.ok_or_else(|| format!("{text}: seconds from 1 to 86400 are required"))
    })?;
    Ok(Settings {
        invocation,
        store: store(&source)?,
        interface: InterfaceChoice {
            names: list(&source, "iface"),
            patterns: patterns(&source)?,
            public_ip: source.read("public-ip", |text| {
                text.parse::<Ipv4Addr>().map_err(|_| format!("invalid public IP address: {text}"))
            })?,
        },
        subnet_file: source.text_or_default("subnet-file").into(),
        renew_margin: Duration::from_secs(u64::from(minutes) * 60),
        ip_masq: switch("ip-masq")?,
        forward_rules: switch("iptables-forward-rules")?,
        rules_interval: Duration::from_secs(seconds.into()),
        healthz: (healthz_port != 0).then_some(SocketAddr::new(healthz_ip, healthz_port)),
        default_backend: source.text_or_default("default-backend"),
        wireguard_key_file: wireguard_key_file(&source),
        force_release: match source.variable("FLANNELD_FORCE_RELEASE") {
            Some((origin, text)) => parse_switch(&text).map_err(|error| SettingError::new(origin, error))?,
            None => false,
        },
    })
}

/// `WIREGUARD_KEY_FILE` is flannel's.
fn wireguard_key_file(source: &SettingSource<'_>) -> PathBuf {
    let found = source.find("wireguard-key-file").or_else(|| source.variable("WIREGUARD_KEY_FILE"));
    found.map_or_else(|| source.text_or_default("wireguard-key-file"), |(_, path)| path).into()
}

fn parse_switch(text: &str) -> Result<bool, String> {
    // A switch without a default is off.
    if text.is_empty() {
        return Ok(false);
    }
    go_compat::parse_bool(text).ok_or_else(|| format!("{text:?} is neither `true` nor `false`"))
}

/// All values of a flag that may be repeated; a variable has commas between them.
fn list(source: &SettingSource<'_>, flag: &'static str) -> Vec<String> {
    let (_, values) = source.texts_or_default(flag);
    values
        .iter()
        .flat_map(|text| text.split(','))
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

fn patterns(source: &SettingSource<'_>) -> Result<Vec<Regex>, SettingError> {
    let (origin, values) = source.texts_or_default("iface-regex");
    let patterns = values.iter().filter(|text| !text.is_empty()).map(|text| Regex::new(text));
    patterns.collect::<Result<_, _>>().map_err(|error| SettingError::new(origin, error))
}

fn store(source: &SettingSource<'_>) -> Result<StoreSettings, SettingError> {
    let endpoints = list(source, "etcd-endpoints");
    let prefix = source.text_or_default("etcd-prefix");
    let file = |flag| source.find(flag).map(|(origin, path)| (origin, PathBuf::from(path)));
    let pair = match (file("etcd-certfile"), file("etcd-keyfile")) {
        (Some((_, certificate)), Some((_, key))) => Some((certificate, key)),
        (Some((origin, _)), None) => return Err(SettingError::new(origin, "it needs -etcd-keyfile too")),
        (None, Some((origin, _))) => return Err(SettingError::new(origin, "it needs -etcd-certfile too")),
        (None, None) => None,
    };
    let password = source.text_or_default("etcd-password");
    Ok(StoreSettings {
        endpoints: endpoints.iter().map(|one| one.trim().to_owned()).collect(),
        prefix: format!("/{}", prefix.trim_matches('/')),
        ca: file("etcd-cafile").map(|(_, path)| path),
        pair,
        user: source.text("etcd-username").map(|name| (name, password)),
    })
}

#[cfg(test)]
mod tests {
    use command_line::before_arguments;

    use super::*;

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let args = before_arguments(FLAGS, &arguments).map_err(|error| error.0)?;
        let environment =
            |name: &str| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
        settings(&args, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_flannel_s() {
        let settings = read(&[], &[]).unwrap();
        assert_eq!(settings.store.endpoints, ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]);
        assert_eq!(settings.store.prefix, "/coreos.com/network");
        assert_eq!(settings.subnet_file, PathBuf::from("/run/flannel/subnet.env"));
        assert_eq!((settings.ip_masq, settings.forward_rules), (false, true));
        assert_eq!(settings.renew_margin, Duration::from_secs(3600));
        assert_eq!((settings.healthz, settings.default_backend.as_str()), (None, "udp"));
        assert_eq!(settings.invocation, Invocation::Run);
        assert_eq!(settings.wireguard_key_file, PathBuf::from("/run/flannel/wgkey"));
    }

    #[test]
    fn flags_override_variables() {
        let variables = [
            ("FLANNELD_IFACE", "eth1,eth2"),
            ("FLANNELD_IP_MASQ", "true"),
            ("FLANNELD_ETCD_ENDPOINTS", "http://a:1, http://b:2"),
            ("FLANNELD_ETCD_PREFIX", "net/"),
            ("FLANNELD_DEFAULT_BACKEND", "vxlan"),
            ("FLANNELD_FORCE_RELEASE", "true"),
            ("WIREGUARD_KEY_FILE", "/a"),
        ];
        let settings =
            read(&["--ip-masq=false", "-healthz-port=8080", "-iface-regex=eth.*"], &variables).unwrap();
        assert_eq!(settings.interface.names, ["eth1", "eth2"]);
        assert_eq!(settings.interface.patterns.len(), 1);
        assert!(!settings.ip_masq && settings.force_release);
        assert_eq!(settings.store.endpoints, ["http://a:1", "http://b:2"]);
        assert_eq!(settings.store.prefix, "/net");
        assert_eq!(settings.default_backend, "vxlan");
        assert_eq!(settings.healthz.unwrap().to_string(), "0.0.0.0:8080");
        assert_eq!(settings.wireguard_key_file, PathBuf::from("/a"));
        let flag = read(&["-wireguard-key-file=/b"], &variables).unwrap();
        assert_eq!(flag.wireguard_key_file, PathBuf::from("/b"));
        let several = read(&["-iface=eth3", "-iface", "10.0.0.7"], &variables).unwrap();
        assert_eq!(several.interface.names, ["eth3", "10.0.0.7"]);
        assert!(read(&["-kube-subnet-mgr=false", "-v=10"], &[]).is_ok());
    }

    #[test]
    fn errors_name_their_origin() {
        let check = |arguments: &[&str], variables: &[(&str, &str)], expected: &str| {
            let error = read(arguments, variables).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        check(
            &["-subnet-lease-renew-margin=1440"],
            &[],
            "-subnet-lease-renew-margin: 1440: minutes from 1 to 1439",
        );
        check(&[], &[("FLANNELD_PUBLIC_IP", "x")], "$FLANNELD_PUBLIC_IP: invalid public IP address: x");
        check(
            &["-kube-subnet-mgr"],
            &[],
            "-kube-subnet-mgr: Kubernetes as the source of subnets is not supported",
        );
        check(&[], &[("FLANNELD_NETWORKS", "a,b")], "$FLANNELD_NETWORKS: several networks");
        check(&["-etcd-keyfile=k"], &[], "-etcd-keyfile: it needs -etcd-certfile too");
        check(&["-iface-regex=("], &[], "-iface-regex: regex parse error");
        check(&["-plan", "-teardown"], &[], "-plan: it excludes -teardown");
        check(
            &[],
            &[("FLANNELD_IP_MASQ", "yes")],
            "$FLANNELD_IP_MASQ: \"yes\" is neither `true` nor `false`",
        );
    }
}
