//! The options of a bond, in the words of the kernel's module and of networkd.

/// One option that is set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BondOption {
    /// As networkd calls it.
    pub key: &'static str,
    pub value: String,
    /// As it was given, for the module: `name=value`.
    pub parameter: String,
}

/// By the kernel's numbers.
const MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
const RATES: [&str; 2] = ["slow", "fast"];
/// The name in Debian's file, which is the module's too, and networkd's.
const KEYS: [(&str, &str); 6] = [
    ("mode", "Mode"),
    ("miimon", "MIIMonitorSec"),
    ("lacp-rate", "LACPTransmitRate"),
    ("updelay", "UpDelaySec"),
    ("downdelay", "DownDelaySec"),
    ("xmit-hash-policy", "TransmitHashPolicy"),
];

impl BondOption {
    /// `None` for a name that is not known or a value that cannot be.
    pub fn new(name: &str, value: &str) -> Option<Self> {
        let (_, key) = KEYS.iter().find(|(known, _)| *known == name)?;
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        if value.is_empty() || !value.chars().all(word) {
            return None;
        }
        let named = |names: &[&str]| -> Option<String> {
            let name = value.parse().ok().and_then(|number: usize| names.get(number).copied());
            Some(name.unwrap_or(value).to_owned())
        };
        let converted = match *key {
            "Mode" => named(&MODES)?,
            "LACPTransmitRate" => named(&RATES)?,
            "TransmitHashPolicy" => value.to_owned(),
            _ => seconds(value)?,
        };
        Some(Self { key, value: converted, parameter: format!("{name}={value}") })
    }
}

/// Milliseconds as seconds: `100` is `0.1`.
fn seconds(milliseconds: &str) -> Option<String> {
    let number: u32 = milliseconds.parse().ok()?;
    Some((f64::from(number) / 1000.0).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        for (name, value, expect) in [
            ("mode", "4", Some("Mode=802.3ad")),
            ("mode", "active-backup", Some("Mode=active-backup")),
            ("miimon", "100", Some("MIIMonitorSec=0.1")),
            ("miimon", "1000", Some("MIIMonitorSec=1")),
            ("miimon", "soon", None),
            ("lacp-rate", "1", Some("LACPTransmitRate=fast")),
            ("lacp-rate", "slow", Some("LACPTransmitRate=slow")),
            ("xmit-hash-policy", "layer3+4", Some("TransmitHashPolicy=layer3+4")),
            ("mode", "a\nb", None),
            ("slaves", "eth0", None),
        ] {
            let option =
                BondOption::new(name, value).map(|option| format!("{}={}", option.key, option.value));
            assert_eq!(option.as_deref(), expect, "{name} {value}");
        }
    }
}
