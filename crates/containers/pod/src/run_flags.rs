//! Flags of `rkt run` and `rkt prepare`.

use command_line::{Flag, ValueKind};

const PULL_POLICIES: &[&str] = &["never", "new", "update"];

/// Flags of the pod.
pub const POD: &[Flag] = &[
    Flag::new("net", ValueKind::Text, "network: host, none, default or flannel").default("default"),
    Flag::new(
        "port",
        ValueKind::Text,
        "forward a port of the host: NAME:[ADDRESS:]HOSTPORT, as in 80-tcp:8080",
    ),
    Flag::new(
        "volume",
        ValueKind::Text,
        "volume: NAME,kind=host,source=PATH[,readOnly=BOOL] or NAME,kind=empty",
    ),
    Flag::new(
        "mount",
        ValueKind::Text,
        "mount a volume: volume=NAME,target=PATH; before the images: in all apps",
    ),
    Flag::new("set-env", ValueKind::Text, "environment variable of all apps: NAME=VALUE"),
    Flag::new("set-env-file", ValueKind::File, "file with environment variables of all apps"),
    Flag::switch("inherit-env", "apps inherit the environment of rkt"),
    Flag::new("hostname", ValueKind::Text, "host name of the pod"),
    Flag::new("dns", ValueKind::Text, "name server, or \"host\" or \"none\""),
    Flag::new("dns-search", ValueKind::Text, "search domain"),
    Flag::new("dns-opt", ValueKind::Text, "option of resolv.conf"),
    Flag::new("dns-domain", ValueKind::Text, "domain of resolv.conf"),
    Flag::new(
        "hosts-entry",
        ValueKind::Text,
        "entry of /etc/hosts: ADDRESS=NAME, or \"host\" for the host's entries",
    ),
    Flag::switch("interactive", "the only app has the terminal and standard input"),
    Flag::new("uuid-file-save", ValueKind::File, "write the pod's UUID to a file"),
    Flag::new("pull-policy", ValueKind::OneOf(PULL_POLICIES), "when images are fetched").default("new"),
    Flag::switch("no-store", "fetch images even if they are in the store").hidden(),
    Flag::switch("store-only", "use only images in the store").hidden(),
    Flag::switch("mds-register", "there is no metadata service; accepted for compatibility").hidden(),
    Flag::switch("no-overlay", "refused: pods need overlay file systems").hidden(),
    Flag::switch("private-users", "refused: user namespaces are not supported").hidden(),
    Flag::new("pod-manifest", ValueKind::File, "refused: App Container manifests are not supported").hidden(),
    Flag::new("stage1-from-dir", ValueKind::Text, "stage1-fly.aci: apps without isolation").hidden(),
    Flag::new("stage1-name", ValueKind::Text, "coreos.com/rkt/stage1-fly: apps without isolation").hidden(),
    Flag::new("stage1-path", ValueKind::Text, "as stage1-from-dir").hidden(),
    Flag::new("stage1-url", ValueKind::Text, "as stage1-name").hidden(),
    Flag::new("stage1-hash", ValueKind::Text, "refused: there are no stage1 images").hidden(),
];

/// Flags of the app whose image precedes them.
pub const APP: &[Flag] = &[
    Flag::new("exec", ValueKind::Text, "program of the preceding image, instead of its own"),
    Flag::new("name", ValueKind::Text, "name of the app"),
    Flag::new("environment", ValueKind::Text, "environment variable of the app: NAME=VALUE"),
    Flag::new("memory", ValueKind::Text, "memory limit of the app, such as 50M"),
    Flag::new("cpu", ValueKind::Text, "CPU limit of the app, such as 500m"),
    Flag::new("user", ValueKind::Text, "user of the app: a name or number"),
    Flag::new("group", ValueKind::Text, "group of the app: a name or number"),
    Flag::new(
        "supplementary-gids",
        ValueKind::Text,
        "supplementary groups of the app: numbers joined by commas",
    ),
    Flag::new("working-dir", ValueKind::Text, "working directory of the app"),
    Flag::switch("readonly-rootfs", "mount the app's root file system read-only"),
    Flag::new("caps-retain", ValueKind::Text, "exactly these capabilities"),
    Flag::new("caps-remove", ValueKind::Text, "the default capabilities without these"),
    Flag::new("oom-score-adj", ValueKind::Integer, "the kernel's oom_score_adj of the app"),
    Flag::new("signature", ValueKind::File, "minisign signature of the preceding image's manifest digest"),
    Flag::new("seccomp", ValueKind::Text, "refused: --insecure-options=seccomp switches the filter off")
        .hidden(),
    Flag::new("user-annotation", ValueKind::Text, "accepted for compatibility").hidden(),
    Flag::new("user-label", ValueKind::Text, "accepted for compatibility").hidden(),
    Flag::new("stdin", ValueKind::OneOf(&["null"]), "null").hidden(),
    Flag::new("stdout", ValueKind::OneOf(&["log"]), "log").hidden(),
    Flag::new("stderr", ValueKind::OneOf(&["log"]), "log").hidden(),
];
