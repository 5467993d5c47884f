//! Every flag, as data: help, names of variables and completions are made from this table.

use super::kind::{Flag, Group, Kind, Standing};

use Group::{Classic, Cluster, Keelson, Logging, Member, Proxy, Security, Version3};
use Kind::{
    Address, Addresses, BindAddress, Choice, Ignored, IgnoredSwitch, Number, Path, Switch, Text, Urls,
};

const fn flag(
    group: Group,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, group, help, standing: Standing::Current }
}

const fn old(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    today: &'static str,
    help: &'static str,
) -> Flag {
    Flag { name, kind, default, group: Classic, help, standing: Standing::Deprecated(today) }
}

const fn alias(name: &'static str, kind: Kind, of: &'static str) -> Flag {
    Flag { name, kind, default: "", group: Classic, help: "", standing: Standing::Alias(of) }
}

const fn nothing(group: Group, name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, default: "", group, help, standing: Standing::NoEffect }
}

const fn at_once(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, default: "", group: Keelson, help, standing: Standing::CommandLineOnly }
}

pub const DEFAULT_NAME: &str = "default";
pub const DEFAULT_PEER_URLS: &str = "http://localhost:2380,http://localhost:7001";
pub const DEFAULT_CLIENT_URLS: &str = "http://localhost:2379,http://localhost:4001";
pub const DEFAULT_TOKEN: &str = "etcd-cluster";
pub const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// In the order in which help shows them.
pub static FLAGS: &[Flag] = &[
    flag(Member, "name", Text, "default", "Name of this member; unlike all others of the cluster."),
    flag(Member, "data-dir", Path, "NAME.etcd", "Where all state is kept."),
    flag(Member, "wal-dir", Path, "", "Where the log is kept, if not below the data directory."),
    flag(Member, "snapshot-count", Number, "10000", "Applied entries between two snapshots."),
    flag(Member, "heartbeat-interval", Number, "100", "Milliseconds between two heartbeats of the leader."),
    flag(Member, "election-timeout", Number, "1000", "Milliseconds without a leader until an election."),
    flag(Member, "listen-peer-urls", Urls, DEFAULT_PEER_URLS, "Where other members connect to."),
    flag(Member, "listen-client-urls", Urls, DEFAULT_CLIENT_URLS, "Where clients connect to."),
    flag(Member, "max-snapshots", Number, "5", "Snapshot files kept; 0 keeps all."),
    flag(Member, "max-wals", Number, "5", "Log files kept; 0 keeps all."),
    flag(Member, "cors", Text, "", "Origins that browsers may call from, comma separated, or *."),
    flag(Cluster, "initial-advertise-peer-urls", Urls, DEFAULT_PEER_URLS, "Peer URLs told to the cluster."),
    flag(Cluster, "advertise-client-urls", Urls, DEFAULT_CLIENT_URLS, "Client URLs told to the cluster."),
    flag(
        Cluster,
        "initial-cluster",
        Text,
        "NAME=http://localhost:2380,NAME=http://localhost:7001",
        "All members of a new cluster: name=url, comma separated; a name may repeat.",
    ),
    flag(
        Cluster,
        "initial-cluster-state",
        Choice(&["new", "existing"]),
        "new",
        "Found a new cluster, or join an existing one.",
    ),
    flag(
        Cluster,
        "initial-cluster-token",
        Text,
        DEFAULT_TOKEN,
        "Clusters with different tokens refuse each other.",
    ),
    flag(Cluster, "discovery", Text, "", "Token URL of a discovery service."),
    flag(
        Cluster,
        "discovery-fallback",
        Choice(&["proxy", "exit"]),
        "proxy",
        "What to be when the discovered cluster is full.",
    ),
    flag(Cluster, "discovery-proxy", Text, "", "HTTP proxy on the way to the discovery service."),
    flag(Cluster, "discovery-srv", Text, "", "DNS domain whose SRV records name the members."),
    flag(
        Cluster,
        "strict-reconfig-check",
        Switch,
        "false",
        "Refuse changes of the membership that would lose the quorum.",
    ),
    flag(
        Cluster,
        "force-new-cluster",
        Switch,
        "false",
        "Make this member's data a cluster of one. Only for a majority that is lost for good.",
    ),
    flag(
        Proxy,
        "proxy",
        Choice(&["off", "readonly", "on"]),
        "off",
        "Forward to members instead of being one.",
    ),
    flag(Proxy, "proxy-failure-wait", Number, "5000", "Milliseconds that a failed endpoint is left alone."),
    flag(
        Proxy,
        "proxy-refresh-interval",
        Number,
        "30000",
        "Milliseconds between two looks at the member list.",
    ),
    flag(Proxy, "proxy-dial-timeout", Number, "1000", "Milliseconds to connect, 0 = no limit."),
    flag(Proxy, "proxy-write-timeout", Number, "5000", "Milliseconds to write a request, 0 = no limit."),
    flag(
        Proxy,
        "proxy-read-timeout",
        Number,
        "0",
        "Milliseconds to read an answer, 0 = no limit: watches need it.",
    ),
    flag(Security, "cert-file", Path, "", "Certificate shown to clients."),
    flag(Security, "key-file", Path, "", "Its key."),
    flag(Security, "client-cert-auth", Switch, "false", "Refuse clients without a certificate."),
    flag(Security, "trusted-ca-file", Path, "", "Authority of the clients' certificates."),
    flag(Security, "peer-cert-file", Path, "", "Certificate shown to other members."),
    flag(Security, "peer-key-file", Path, "", "Its key."),
    flag(Security, "peer-client-cert-auth", Switch, "false", "Refuse members without a certificate."),
    flag(Security, "peer-trusted-ca-file", Path, "", "Authority of the members' certificates."),
    Flag {
        standing: Standing::Deprecated("-trusted-ca-file and -client-cert-auth"),
        ..flag(
            Security,
            "ca-file",
            Path,
            "",
            "Both in one: authority of clients, who must show a certificate.",
        )
    },
    Flag {
        standing: Standing::Deprecated("-peer-trusted-ca-file and -peer-client-cert-auth"),
        ..flag(Security, "peer-ca-file", Path, "", "The same for members.")
    },
    flag(Security, "auto-tls", Switch, "false", "Clients: make a certificate at start if none is given."),
    flag(
        Security,
        "peer-auto-tls",
        Switch,
        "false",
        "Members: make a certificate at start if none is given.",
    ),
    flag(Logging, "debug", Switch, "false", "Log more."),
    flag(Logging, "log-package-levels", Text, "", "Levels of single parts: part=LEVEL, comma separated."),
    flag(Logging, "enable-pprof", Switch, "false", "Serve profiles below /debug/pprof."),
    flag(Logging, "listen-metrics-urls", Urls, "", "More places that serve /metrics and /health alone."),
    at_once("version", Switch, "Print the version."),
    at_once("help", Switch, "Print this text."),
    at_once("h", Switch, ""),
    at_once("dry-run", Switch, "Print what would be in effect, as JSON, and do nothing."),
    at_once("completion", Choice(&SHELLS), "Print completions for bash, zsh or fish."),
    flag(
        Keelson,
        "node-mode",
        Switch,
        "false",
        "Serve the ports of both generations (2379 and 4001, 2380 and 7001); set by the node's unit.",
    ),
    flag(Keelson, "report-version", Text, "2.3.8", "What /version answers, for clients that ask for more."),
    flag(Version3, "config-file", Path, "", "Flags from a YAML file; all others are ignored then."),
    flag(Version3, "quota-backend-bytes", Number, "2147483648", "Most bytes of the v3 keys."),
    flag(Version3, "max-request-bytes", Number, "1572864", "Most bytes of a v3 request."),
    flag(Version3, "max-txn-ops", Number, "128", "Most operations of a v3 transaction."),
    flag(Version3, "auto-compaction-retention", Text, "0", "How much v3 history is kept; 0 = all."),
    flag(
        Version3,
        "auto-compaction-mode",
        Choice(&["periodic", "revision"]),
        "periodic",
        "What the retention counts: time or revisions.",
    ),
    nothing(Version3, "enable-v2", IgnoredSwitch, "v2 is always served."),
    nothing(Version3, "pre-vote", IgnoredSwitch, "The vote works as it works."),
    nothing(Version3, "initial-election-tick-advance", IgnoredSwitch, "Elections begin when they must."),
    nothing(Version3, "metrics", Ignored, "All metrics are always there."),
    nothing(Version3, "grpc-keepalive-min-time", Ignored, "For v3's transport."),
    nothing(Version3, "grpc-keepalive-interval", Ignored, "For v3's transport."),
    nothing(Version3, "grpc-keepalive-timeout", Ignored, "For v3's transport."),
    nothing(Version3, "log-output", Ignored, "Logs go to the journal, or to stderr."),
    nothing(Version3, "log-outputs", Ignored, "Logs go to the journal, or to stderr."),
    nothing(Version3, "logger", Ignored, "There is one logger."),
    nothing(Version3, "log-level", Ignored, "See -debug."),
    nothing(Version3, "experimental-v3demo", IgnoredSwitch, "2.3's trial of v3."),
    nothing(Version3, "experimental-gRPC-addr", Ignored, "2.3's trial of v3."),
    nothing(Version3, "experimental-auto-compaction-retention", Ignored, "2.3's trial of v3."),
    old("addr", Address, "127.0.0.1:4001", "-advertise-client-urls", "host:port told to clients."),
    old("bind-addr", BindAddress, "", "-listen-client-urls", "host[:port] that clients connect to."),
    old("peer-addr", Address, "127.0.0.1:7001", "-initial-advertise-peer-urls", "host:port told to members."),
    old("peer-bind-addr", BindAddress, "", "-listen-peer-urls", "host[:port] that members connect to."),
    old(
        "peers",
        Addresses,
        "",
        "-initial-cluster",
        "host:port of other members: join them, or found with them.",
    ),
    old("peers-file", Path, "", "-initial-cluster", "File with the same, one per line."),
    old("peer-heartbeat-interval", Number, "", "-heartbeat-interval", "Milliseconds."),
    old("peer-election-timeout", Number, "", "-election-timeout", "Milliseconds."),
    alias("C", Addresses, "peers"),
    alias("CF", Path, "peers-file"),
    alias("n", Text, "name"),
    alias("c", Address, "addr"),
    alias("cl", BindAddress, "bind-addr"),
    alias("s", Address, "peer-addr"),
    alias("sl", BindAddress, "peer-bind-addr"),
    alias("d", Path, "data-dir"),
    alias("snapshotcount", Number, "snapshot-count"),
    nothing(Classic, "cluster-active-size", Ignored, ""),
    nothing(Classic, "cluster-remove-delay", Ignored, ""),
    nothing(Classic, "cluster-sync-interval", Ignored, ""),
    nothing(Classic, "max-result-buffer", Ignored, ""),
    nothing(Classic, "max-retry-attempts", Ignored, ""),
    nothing(Classic, "max-cluster-size", Ignored, ""),
    nothing(Classic, "retry-interval", Ignored, ""),
    nothing(Classic, "snapshot", IgnoredSwitch, ""),
    nothing(Classic, "config", Ignored, ""),
    nothing(Classic, "force", IgnoredSwitch, ""),
    nothing(Classic, "f", IgnoredSwitch, ""),
    nothing(Classic, "v", IgnoredSwitch, ""),
    nothing(Classic, "vv", IgnoredSwitch, ""),
    nothing(Classic, "vvv", IgnoredSwitch, ""),
    nothing(Classic, "verbose", IgnoredSwitch, ""),
    nothing(Classic, "very-verbose", IgnoredSwitch, ""),
    nothing(Classic, "very-very-verbose", IgnoredSwitch, ""),
    nothing(Classic, "http-read-timeout", Ignored, ""),
    nothing(Classic, "http-write-timeout", Ignored, ""),
    nothing(Classic, "cpuprofile", Ignored, ""),
    nothing(Classic, "trace", Ignored, ""),
    nothing(Classic, "graphite-host", Ignored, ""),
    nothing(Classic, "m", Ignored, ""),
    nothing(Classic, "r", Ignored, ""),
];

/// The flag of this name, exactly.
pub fn find(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flag that an `ETCD_*` variable sets.
pub fn find_by_environment(variable: &str) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .filter(|flag| flag.standing != Standing::CommandLineOnly && flag.name.len() > 1)
        .find(|flag| flag.environment() == variable)
}
