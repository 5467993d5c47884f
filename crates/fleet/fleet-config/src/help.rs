//! `--help`: the keys, made from the table.

use crate::key::{KEYS, Key, Standing};

/// Where the sentences begin.
const COLUMN: usize = 30;

/// What is said to who used the program wrongly.
pub const USAGE: &str =
    "usage: fleetd [--config FILE]\n       fleetd fence\n       fleetd --version | --help\n";

const FILE: &str = "
The file holds lines of the form key=value; comments begin with #. Without --config it is
/etc/fleet/fleet.conf, where that exists. A variable beats the file: agent_ttl is FLEET_AGENT_TTL.
Defaults are in brackets.

fence is what fleet-fence.service runs while fleetd does not: it stops this machine's units before
another machine may start them.
";

const GROUPS: [(Standing, &str); 3] = [
    (Standing::Classic, "keys"),
    (Standing::Ours, "keys that the original has not"),
    (Standing::Ignored, "keys of old"),
];

/// The whole text.
pub fn text() -> String {
    let mut out = format!("{USAGE}{FILE}");
    for (standing, title) in GROUPS {
        out.push_str(&format!("\n{title}:\n"));
        KEYS.iter().filter(|key| key.standing == standing).for_each(|key| line(&mut out, key));
    }
    out
}

fn line(out: &mut String, key: &Key) {
    let head = format!("  {}", key.name);
    let default = if key.default.is_empty() { String::new() } else { format!(" [{}]", key.default) };
    out.push_str(&format!("{head:<COLUMN$} {}{default}\n", key.help));
}
