//! `-help`: generated from the flag table.

use crate::flag::{FLAGS, Flag, Group, Status, ValueKind};

/// Column of the descriptions.
const COLUMN: usize = 36;

/// Printed for an invalid command line.
pub const USAGE: &str = "usage: etcd [flags]\n       etcd --version | --help | --dry-run [flags]\n\
    Each flag can also be set by an environment variable: -listen-peer-urls by ETCD_LISTEN_PEER_URLS.\n\
    Run 'etcd --help' for a list of flags.\n";

const EXAMPLES: &str = "examples:
  etcd
      Start a single-member cluster on http://127.0.0.1:2379, with data in ./default.etcd.
  etcd -name core-01 -discovery https://HOST/TOKEN
      Bootstrap a cluster through a discovery token.
  etcd -name core-01 -addr 10.0.0.1:4001 -peer-addr 10.0.0.1:7001 -peers 10.0.0.2:7001,10.0.0.3:7001
      Bootstrap a cluster with these peers, or join their cluster. Start order does not matter.
  etcd -proxy on -initial-cluster core-01=http://10.0.0.1:2380
      Run as a proxy that forwards client requests to the cluster.
";

/// The complete help.
pub fn text() -> String {
    let mut out = format!("{USAGE}\n{EXAMPLES}");
    for group in Group::ALL {
        out.push_str(&format!("\n{}:\n", group.title()));
        for flag in FLAGS.iter().filter(|flag| flag.group == group && flag.name != "h") {
            line(&mut out, flag);
        }
    }
    out
}

fn line(out: &mut String, flag: &Flag) {
    let value = match flag.kind {
        ValueKind::Switch | ValueKind::IgnoredSwitch => String::new(),
        ValueKind::Number => " N".to_owned(),
        ValueKind::Choice(choices) => format!(" {}", choices.join("|")),
        ValueKind::Urls => " URLS".to_owned(),
        ValueKind::Path => " PATH".to_owned(),
        ValueKind::Address | ValueKind::BindAddress => " HOST:PORT".to_owned(),
        ValueKind::Addresses => " LIST".to_owned(),
        ValueKind::Text | ValueKind::Ignored => " TEXT".to_owned(),
    };
    let head = format!("  --{}{value}", flag.name);
    let description = match flag.status {
        Status::Alias(of) => format!("Alias of --{of}."),
        Status::NoEffect => format!("Ignored. {}", flag.help),
        Status::Deprecated(replacement) => format!("{} Deprecated: use {replacement}.", flag.help),
        Status::Current | Status::CommandLineOnly => flag.help.to_owned(),
    };
    let default = if flag.default.is_empty() || flag.default == "false" {
        String::new()
    } else {
        format!(" [{}]", flag.default)
    };
    out.push_str(&format!("{head:<COLUMN$} {}{default}\n", description.trim_end()));
}
