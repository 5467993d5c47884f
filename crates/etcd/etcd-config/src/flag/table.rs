//! All flags; help, variable names and completions are generated from this table.

use super::kind::{Flag, Group, Status, ValueKind};

use Group::{Cluster, Etcd04, Keelson, Logging, Member, Proxy, Security, Version3};
use ValueKind::{
    Address, Addresses, BindAddress, Choice, Ignored, IgnoredSwitch, Number, Path, Switch, Text, Urls,
};

const fn flag(
    group: Group,
    name: &'static str,
    kind: ValueKind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, group, help, status: Status::Current }
}

const fn deprecated(
    name: &'static str,
    kind: ValueKind,
    default: &'static str,
    replacement: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, group: Etcd04, help, status: Status::Deprecated(replacement) }
}

const fn alias(name: &'static str, kind: ValueKind, of: &'static str) -> Flag {
    Flag { name, kind, default: "", group: Etcd04, help: "", status: Status::Alias(of) }
}

const fn no_effect(group: Group, name: &'static str, kind: ValueKind, help: &'static str) -> Flag {
    Flag { name, kind, default: "", group, help, status: Status::NoEffect }
}

const fn command_line_only(name: &'static str, kind: ValueKind, help: &'static str) -> Flag {
    Flag { name, kind, default: "", group: Keelson, help, status: Status::CommandLineOnly }
}

pub const DEFAULT_NAME: &str = "default";
pub const DEFAULT_PEER_URLS: &str = "http://localhost:2380,http://localhost:7001";
pub const DEFAULT_CLIENT_URLS: &str = "http://localhost:2379,http://localhost:4001";
pub const DEFAULT_TOKEN: &str = "etcd-cluster";
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// In the order of the help.
pub static FLAGS: &[Flag] = &[
    flag(Member, "name", Text, "default", "Name of this member, unique in the cluster."),
    flag(Member, "data-dir", Path, "NAME.etcd", "Data directory."),
    flag(Member, "wal-dir", Path, "", "Directory of the write-ahead log, if not in the data directory."),
    flag(Member, "snapshot-count", Number, "10000", "Number of applied entries between snapshots."),
    flag(Member, "heartbeat-interval", Number, "100", "Heartbeat interval of the leader, in milliseconds."),
    flag(
        Member,
        "election-timeout",
        Number,
        "1000",
        "Time without a heartbeat until an election, in milliseconds.",
    ),
    flag(Member, "listen-peer-urls", Urls, DEFAULT_PEER_URLS, "URLs to listen on for peer traffic."),
    flag(Member, "listen-client-urls", Urls, DEFAULT_CLIENT_URLS, "URLs to listen on for client traffic."),
    flag(Member, "max-snapshots", Number, "5", "Number of snapshot files to keep; 0 keeps all."),
    flag(Member, "max-wals", Number, "5", "Number of log files to keep; 0 keeps all."),
    flag(Member, "cors", Text, "", "Comma-separated origins allowed for CORS, or *."),
    flag(
        Cluster,
        "initial-advertise-peer-urls",
        Urls,
        DEFAULT_PEER_URLS,
        "Peer URLs to advertise to the other members.",
    ),
    flag(
        Cluster,
        "advertise-client-urls",
        Urls,
        DEFAULT_CLIENT_URLS,
        "Client URLs to advertise to the cluster.",
    ),
    flag(
        Cluster,
        "initial-cluster",
        Text,
        "NAME=http://localhost:2380,NAME=http://localhost:7001",
        "Comma-separated name=URL pairs of all initial members; repeat a name for several URLs.",
    ),
    flag(
        Cluster,
        "initial-cluster-state",
        Choice(&["new", "existing"]),
        "new",
        "Bootstrap a new cluster, or join an existing one.",
    ),
    flag(
        Cluster,
        "initial-cluster-token",
        Text,
        DEFAULT_TOKEN,
        "Token of the cluster; members with different tokens reject each other.",
    ),
    flag(Cluster, "discovery", Text, "", "Token URL of the discovery service."),
    flag(
        Cluster,
        "discovery-fallback",
        Choice(&["proxy", "exit"]),
        "proxy",
        "Behaviour if the discovered cluster is full: run as proxy, or exit.",
    ),
    flag(Cluster, "discovery-proxy", Text, "", "HTTP proxy for requests to the discovery service."),
    flag(Cluster, "discovery-srv", Text, "", "DNS domain to query for SRV records of the members."),
    flag(
        Cluster,
        "strict-reconfig-check",
        Switch,
        "false",
        "Reject membership changes that would lose quorum.",
    ),
    flag(
        Cluster,
        "force-new-cluster",
        Switch,
        "false",
        "Restart as a new single-member cluster. Use only after a permanent loss of quorum.",
    ),
    flag(Proxy, "proxy", Choice(&["off", "readonly", "on"]), "off", "Run as a proxy instead of a member."),
    flag(
        Proxy,
        "proxy-failure-wait",
        Number,
        "5000",
        "Time until a failed endpoint is retried, in milliseconds.",
    ),
    flag(
        Proxy,
        "proxy-refresh-interval",
        Number,
        "30000",
        "Refresh interval of the member list, in milliseconds.",
    ),
    flag(
        Proxy,
        "proxy-dial-timeout",
        Number,
        "1000",
        "Timeout for connecting, in milliseconds; 0 disables it.",
    ),
    flag(
        Proxy,
        "proxy-write-timeout",
        Number,
        "5000",
        "Timeout for writing a request, in milliseconds; 0 disables it.",
    ),
    flag(
        Proxy,
        "proxy-read-timeout",
        Number,
        "0",
        "Timeout for reading a response, in milliseconds; 0 disables it, as watches require.",
    ),
    flag(Security, "cert-file", Path, "", "Server certificate for clients (PEM)."),
    flag(Security, "key-file", Path, "", "Private key of --cert-file (PEM)."),
    flag(Security, "client-cert-auth", Switch, "false", "Require client certificates from clients."),
    flag(Security, "trusted-ca-file", Path, "", "CA bundle to verify client certificates with (PEM)."),
    flag(Security, "peer-cert-file", Path, "", "Certificate for peer traffic (PEM)."),
    flag(Security, "peer-key-file", Path, "", "Private key of --peer-cert-file (PEM)."),
    flag(Security, "peer-client-cert-auth", Switch, "false", "Require client certificates from peers."),
    flag(Security, "peer-trusted-ca-file", Path, "", "CA bundle to verify peer certificates with (PEM)."),
    Flag {
        status: Status::Deprecated("-trusted-ca-file and -client-cert-auth"),
        ..flag(Security, "ca-file", Path, "", "CA bundle for clients; requires client certificates.")
    },
    Flag {
        status: Status::Deprecated("-peer-trusted-ca-file and -peer-client-cert-auth"),
        ..flag(Security, "peer-ca-file", Path, "", "CA bundle for peers; requires client certificates.")
    },
    flag(
        Security,
        "auto-tls",
        Switch,
        "false",
        "Use a self-signed certificate for clients if --cert-file is not set.",
    ),
    flag(
        Security,
        "peer-auto-tls",
        Switch,
        "false",
        "Use a self-signed certificate for peers if --peer-cert-file is not set.",
    ),
    flag(Logging, "debug", Switch, "false", "Enable debug logging."),
    flag(Logging, "log-package-levels", Text, "", "Comma-separated log levels of packages: package=LEVEL."),
    flag(
        Logging,
        "enable-pprof",
        Switch,
        "false",
        "Ignored with a warning: there is no Go runtime to profile.",
    ),
    flag(Logging, "listen-metrics-urls", Urls, "", "Additional URLs to serve only /metrics and /health on."),
    command_line_only("version", Switch, "Print the version and exit."),
    command_line_only("help", Switch, "Print this help and exit."),
    command_line_only("h", Switch, ""),
    command_line_only("dry-run", Switch, "Print the effective configuration as JSON and exit."),
    command_line_only("completion", Choice(&SHELLS), "Print a shell completion script and exit."),
    flag(
        Keelson,
        "node-mode",
        Switch,
        "false",
        "Listen on the ports of etcd 2 and etcd 0.4 (2379 and 4001, 2380 and 7001); set by the unit.",
    ),
    flag(
        Keelson,
        "report-version",
        Text,
        "2.3.8",
        "Version to report at /version, for clients that require a later one.",
    ),
    flag(
        Version3,
        "config-file",
        Path,
        "",
        "Read the configuration from this YAML file and ignore all other flags.",
    ),
    flag(
        Version3,
        "host-whitelist",
        Text,
        "",
        "Comma-separated further host names that HTTP requests may use, or *. Addresses and private names always may.",
    ),
    flag(Version3, "quota-backend-bytes", Number, "2147483648", "Maximum size of the v3 store in bytes."),
    flag(Version3, "max-request-bytes", Number, "1572864", "Maximum size of a v3 request in bytes."),
    flag(Version3, "max-txn-ops", Number, "128", "Maximum number of operations in a v3 transaction."),
    flag(
        Version3,
        "auto-compaction-retention",
        Text,
        "0",
        "Retention of the v3 history; 0 disables compaction.",
    ),
    flag(
        Version3,
        "auto-compaction-mode",
        Choice(&["periodic", "revision"]),
        "periodic",
        "Interpret the retention as a period or as a number of revisions.",
    ),
    no_effect(Version3, "enable-v2", IgnoredSwitch, "The v2 API is always enabled."),
    no_effect(Version3, "pre-vote", IgnoredSwitch, "The election protocol is not configurable."),
    no_effect(
        Version3,
        "initial-election-tick-advance",
        IgnoredSwitch,
        "Election timing is not configurable.",
    ),
    no_effect(Version3, "metrics", Ignored, "All metrics are always served."),
    no_effect(Version3, "grpc-keepalive-min-time", Ignored, "gRPC keepalive is not configurable."),
    no_effect(Version3, "grpc-keepalive-interval", Ignored, "gRPC keepalive is not configurable."),
    no_effect(Version3, "grpc-keepalive-timeout", Ignored, "gRPC keepalive is not configurable."),
    no_effect(Version3, "log-output", Ignored, "Logs go to the journal or to stderr."),
    no_effect(Version3, "log-outputs", Ignored, "Logs go to the journal or to stderr."),
    no_effect(Version3, "logger", Ignored, "There is only one logger."),
    no_effect(Version3, "log-level", Ignored, "Use --debug."),
    no_effect(Version3, "experimental-v3demo", IgnoredSwitch, "Experimental v3 API of etcd 2.3."),
    no_effect(Version3, "experimental-gRPC-addr", Ignored, "Experimental v3 API of etcd 2.3."),
    no_effect(
        Version3,
        "experimental-auto-compaction-retention",
        Ignored,
        "Experimental v3 API of etcd 2.3.",
    ),
    deprecated(
        "addr",
        Address,
        "127.0.0.1:4001",
        "-advertise-client-urls",
        "host:port to advertise to clients.",
    ),
    deprecated(
        "bind-addr",
        BindAddress,
        "",
        "-listen-client-urls",
        "host[:port] to listen on for client traffic.",
    ),
    deprecated(
        "peer-addr",
        Address,
        "127.0.0.1:7001",
        "-initial-advertise-peer-urls",
        "host:port to advertise to peers.",
    ),
    deprecated(
        "peer-bind-addr",
        BindAddress,
        "",
        "-listen-peer-urls",
        "host[:port] to listen on for peer traffic.",
    ),
    deprecated(
        "peers",
        Addresses,
        "",
        "-initial-cluster",
        "Comma-separated host:port of the peers to join or bootstrap with.",
    ),
    deprecated("peers-file", Path, "", "-initial-cluster", "File with the peers, one host:port per line."),
    deprecated(
        "peer-heartbeat-interval",
        Number,
        "",
        "-heartbeat-interval",
        "Heartbeat interval in milliseconds.",
    ),
    deprecated("peer-election-timeout", Number, "", "-election-timeout", "Election timeout in milliseconds."),
    alias("C", Addresses, "peers"),
    alias("CF", Path, "peers-file"),
    alias("n", Text, "name"),
    alias("c", Address, "addr"),
    alias("cl", BindAddress, "bind-addr"),
    alias("s", Address, "peer-addr"),
    alias("sl", BindAddress, "peer-bind-addr"),
    alias("d", Path, "data-dir"),
    alias("snapshotcount", Number, "snapshot-count"),
    no_effect(Etcd04, "cluster-active-size", Ignored, ""),
    no_effect(Etcd04, "cluster-remove-delay", Ignored, ""),
    no_effect(Etcd04, "cluster-sync-interval", Ignored, ""),
    no_effect(Etcd04, "max-result-buffer", Ignored, ""),
    no_effect(Etcd04, "max-retry-attempts", Ignored, ""),
    no_effect(Etcd04, "max-cluster-size", Ignored, ""),
    no_effect(Etcd04, "retry-interval", Ignored, ""),
    no_effect(Etcd04, "snapshot", IgnoredSwitch, ""),
    no_effect(Etcd04, "config", Ignored, ""),
    no_effect(Etcd04, "force", IgnoredSwitch, ""),
    no_effect(Etcd04, "f", IgnoredSwitch, ""),
    no_effect(Etcd04, "v", IgnoredSwitch, ""),
    no_effect(Etcd04, "vv", IgnoredSwitch, ""),
    no_effect(Etcd04, "vvv", IgnoredSwitch, ""),
    no_effect(Etcd04, "verbose", IgnoredSwitch, ""),
    no_effect(Etcd04, "very-verbose", IgnoredSwitch, ""),
    no_effect(Etcd04, "very-very-verbose", IgnoredSwitch, ""),
    no_effect(Etcd04, "http-read-timeout", Ignored, ""),
    no_effect(Etcd04, "http-write-timeout", Ignored, ""),
    no_effect(Etcd04, "cpuprofile", Ignored, ""),
    no_effect(Etcd04, "trace", Ignored, ""),
    no_effect(Etcd04, "graphite-host", Ignored, ""),
    no_effect(Etcd04, "m", Ignored, ""),
    no_effect(Etcd04, "r", Ignored, ""),
];

/// The flag with this exact name.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag of a variable `ETCD_*`.
pub fn find_by_environment(variable: &str) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .filter(|flag| flag.status != Status::CommandLineOnly && flag.name.len() > 1)
        .find(|flag| flag.environment() == variable)
}
