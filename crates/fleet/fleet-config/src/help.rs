//! The help page, generated from the table of keys.

use crate::key::{KEYS, Key, KeyKind};

/// Column of the descriptions.
const COLUMN: usize = 30;

/// Also printed after usage errors.
pub const USAGE: &str =
    "usage: fleetd [--config FILE]\n       fleetd fence\n       fleetd --version | --help\n";

const FILE: &str = "
The file holds lines of the form key=value; comments begin with #. Without --config it is
/etc/fleet/fleet.conf, where that exists. A variable beats the file: agent_ttl is FLEET_AGENT_TTL.
Defaults are in brackets.

fence is what fleet-fence.service runs while fleetd does not: it stops this machine's units before
another machine may start them.
";

const GROUPS: [(KeyKind, &str); 3] = [
    (KeyKind::Original, "keys"),
    (KeyKind::Extension, "keys that the original has not"),
    (KeyKind::Ignored, "keys of old"),
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
