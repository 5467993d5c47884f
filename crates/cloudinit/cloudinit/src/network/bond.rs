//! Bond options, in the notation of the kernel module and of networkd.

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BondOption {
    /// Key in a networkd `.netdev` file.
    pub key: &'static str,
    pub value: String,
    /// Module parameter, `name=value`, unconverted.
    pub parameter: String,
}

/// Indexed by the kernel's mode number.
const MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];
const RATES: [&str; 2] = ["slow", "fast"];
/// Option name in `/etc/network/interfaces`, which is also the module's, and networkd's key.
const KEYS: [(&str, &str); 6] = [
    ("mode", "Mode"),
    ("miimon", "MIIMonitorSec"),
    ("lacp-rate", "LACPTransmitRate"),
    ("updelay", "UpDelaySec"),
    ("downdelay", "DownDelaySec"),
    ("xmit-hash-policy", "TransmitHashPolicy"),
];

impl BondOption {
    /// Returns `None` for an unknown name or an invalid value.
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

/// Converts milliseconds to seconds: `100` to `0.1`.
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
