//! The rules of the packet filter: which packets leave with the host's address, and which are forwarded.

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
