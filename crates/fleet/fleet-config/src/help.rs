//! The help page, generated from the table of keys.

use crate::key::{KEYS, Key, KeyKind};

/// Column of the descriptions.
const COLUMN: usize = 30;

/// Also printed after usage errors.
pub const USAGE: &str =
    "usage: fleetd [--config FILE]\n       fleetd fence\n       fleetd --version | --help\n";

const FILE: &str = "
The configuration file has lines of the form key=value, and comments that start with #. The default
path is /etc/fleet/fleet.conf, which may be missing. Environment variables override the file, such as
FLEET_AGENT_TTL for agent_ttl. Defaults are in brackets.

fleetd fence is run by fleet-fence.service while fleetd is not running: it stops the units of this
machine before another machine may start them.
";

const GROUPS: [(KeyKind, &str); 3] = [
    (KeyKind::Original, "keys"),
    (KeyKind::Extension, "additional keys"),
    (KeyKind::Ignored, "deprecated keys"),
];

pub fn text() -> String {
    let mut out = format!("{USAGE}{FILE}");
    for (kind, title) in GROUPS {
        out.push_str(&format!("\n{title}:\n"));
        KEYS.iter().filter(|key| key.kind == kind).for_each(|key| line(&mut out, key));
    }
    out
}

fn line(out: &mut String, key: &Key) {
    let head = format!("  {}", key.name);
    let default = if key.default.is_empty() { String::new() } else { format!(" [{}]", key.default) };
    out.push_str(&format!("{head:<COLUMN$} {}{default}\n", key.help));
}
