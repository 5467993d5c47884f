//! The rules of the packet filter: which packets leave with the host's address, and which are forwarded.

use std::fmt;

use ipnet::Ipv4Net;

/// A chain to which a rule is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chain {
    /// Source address translation, `nat POSTROUTING` of iptables.
    Postrouting,
    /// `filter FORWARD` of iptables.
    Forward,
}

/// A condition on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressMatch {
    /// The network.
    pub network: Ipv4Net,
    /// Whether the address must be outside of it.
    pub negated: bool,
}

/// What happens to a packet that fulfils the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No later rule of the chain is tried.
    Return,
    /// Forwarded.
    Accept,
    /// Leaves with the host's address and a random port.
    Masquerade,
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it is.
    pub chain: Chain,
    /// Condition on the source.
    pub source: Option<AddressMatch>,
    /// Condition on the destination.
    pub destination: Option<AddressMatch>,
    /// What it does.
    pub verdict: Verdict,
}

impl fmt::Display for Rule {
    /// The rule as arguments of `iptables`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.chain {
            Chain::Postrouting => "-t nat -A POSTROUTING",
            Chain::Forward => "-A FORWARD",
        })?;
        for (flag, condition) in [("-s", self.source), ("-d", self.destination)] {
            if let Some(AddressMatch { network, negated }) = condition {
                write!(f, "{} {flag} {network}", if negated { " !" } else { "" })?;
            }
        }
        f.write_str(match self.verdict {
            Verdict::Return => " -j RETURN",
            Verdict::Accept => " -j ACCEPT",
            Verdict::Masquerade => " -j MASQUERADE --random-fully",
        })
    }
}

const fn within(network: Ipv4Net) -> Option<AddressMatch> {
    Some(AddressMatch { network, negated: false })
}

const fn outside(network: Ipv4Net) -> Option<AddressMatch> {
    Some(AddressMatch { network, negated: true })
}

/// flannel's rules of `-ip-masq`, in order: packets within the network keep their source, others leave with the
/// host's address; packets from outside keep theirs if they are for `subnet`, this host's own.
pub fn masquerade_rules(network: Ipv4Net, subnet: Ipv4Net) -> [Rule; 4] {
    let multicast = Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4);
    let rule =
        |source, destination, verdict| Rule { chain: Chain::Postrouting, source, destination, verdict };
    [
        rule(within(network), within(network), Verdict::Return),
        rule(within(network), outside(multicast), Verdict::Masquerade),
        rule(outside(network), within(subnet), Verdict::Return),
        rule(outside(network), within(network), Verdict::Masquerade),
    ]
}

/// flannel's rules of `-iptables-forward-rules`: Docker sets the policy of the chain to drop.
pub fn forward_rules(network: Ipv4Net) -> [Rule; 2] {
    let rule =
        |source, destination| Rule { chain: Chain::Forward, source, destination, verdict: Verdict::Accept };
    [rule(within(network), None), rule(None, within(network))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_flannel_s() {
        let network = "10.1.0.0/16".parse().unwrap();
        let masquerade =
            masquerade_rules(network, "10.1.34.0/24".parse().unwrap()).map(|rule| rule.to_string());
        assert_eq!(
            masquerade,
            [
                "-t nat -A POSTROUTING -s 10.1.0.0/16 -d 10.1.0.0/16 -j RETURN",
                "-t nat -A POSTROUTING -s 10.1.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
                "-t nat -A POSTROUTING ! -s 10.1.0.0/16 -d 10.1.34.0/24 -j RETURN",
                "-t nat -A POSTROUTING ! -s 10.1.0.0/16 -d 10.1.0.0/16 -j MASQUERADE --random-fully",
            ]
        );
        let forward = forward_rules(network).map(|rule| rule.to_string());
        assert_eq!(forward, ["-A FORWARD -s 10.1.0.0/16 -j ACCEPT", "-A FORWARD -d 10.1.0.0/16 -j ACCEPT"]);
    }
}
