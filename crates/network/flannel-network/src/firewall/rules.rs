//! Rules as expressions of nftables, in both directions.
//!
//! A condition loads an address from the IP header into a register, masks and compares it. Rules are compared as rules
//! and not as bytes: kernels list attributes that were not sent, and iptables-nft compares only the bytes of the prefix.

use std::net::Ipv4Addr;

use flannel_core::{AddressMatch, Chain, Rule, Verdict};
use ipnet::Ipv4Net;
use netlink::nftables::{
    ACCEPT, comment_match,
    expressions::{
        Address, address_is, is_counter, read_comparison, read_verdict as read_code, return_to_caller,
        verdict,
    },
};
use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_netfilter::nftables::{Bitwise, DataAttribute, Expressions, Payload, Verdict as Code};

const NETWORK_HEADER: u32 = 1;
const ADDRESS_LENGTH: u32 = 4;
const MASQUERADE: &str = "masq";
const MASQUERADE_FLAGS: u16 = 1;
/// A random source port of all free ones: without it, two connections can get the same port at the same moment.
const FULLY_RANDOM: u32 = 1 << 4;

/// The expressions of a rule.
pub fn expressions(rule: &Rule) -> Vec<Expressions> {
    let mut expressions = Vec::new();
    for (address, condition) in [(Address::Source, rule.source), (Address::Destination, rule.destination)] {
        if let Some(AddressMatch { network, negated }) = condition {
            expressions.extend(address_is(address, network, negated));
        }
    }
    expressions.push(match rule.verdict {
        Verdict::Return => return_to_caller(),
        Verdict::Accept => verdict(ACCEPT),
        Verdict::Masquerade => {
            let flags = DefaultNla::new(MASQUERADE_FLAGS, FULLY_RANDOM.to_be_bytes().to_vec());
            Expressions::Other { expression_type: MASQUERADE.into(), attributes: vec![flags] }
        }
    });
    expressions
}

/// The rule that these expressions are; `None` if it is none of flannel's form.
pub fn read(chain: Chain, expressions: &[Expressions]) -> Option<Rule> {
    let neutral = |expression: &&Expressions| !is_counter(expression) && comment_match(expression).is_none();
    let mut expressions = expressions.iter().filter(neutral).peekable();
    let mut conditions = [None, None];
    while let Some(Expressions::Payload(payload)) = expressions.peek() {
        let (offset, length) = read_payload(payload)?;
        expressions.next();
        let mut mask = vec![0xff; length];
        if let Some(Expressions::Bitwise(bitwise)) = expressions.peek() {
            mask = read_bitwise(bitwise, length)?;
            expressions.next();
        }
        let Some(Expressions::Cmp(cmp)) = expressions.next() else { return None };
        let (negated, value) = read_comparison(cmp)?;
        let network = Ipv4Net::with_netmask(padded(&value)?, padded(&mask)?).ok()?;
        let place = match offset {
            offset if offset == Address::Source.offset() => &mut conditions[0],
            offset if offset == Address::Destination.offset() => &mut conditions[1],
            _ => return None,
        };
        if value.len() != length || place.replace(AddressMatch { network, negated }).is_some() {
            return None;
        }
    }
    let verdict = read_verdict(expressions.next()?)?;
    let [source, destination] = conditions;
    expressions.next().is_none().then_some(Rule { chain, source, destination, verdict })
}

/// Offset and length of the loaded bytes of the IP header.
fn read_payload(attributes: &[Payload]) -> Option<(u32, usize)> {
    let (mut base, mut offset, mut length) = (None, None, None);
    for attribute in attributes {
        match attribute {
            Payload::Base(is) => base = Some(*is),
            Payload::Offset(is) => offset = Some(*is),
            Payload::Len(is) => length = Some(*is),
            Payload::SourceRegister(_) => return None,
            _ => (),
        }
    }
    let length = length.filter(|length| (1..=ADDRESS_LENGTH).contains(length))?;
    (base == Some(NETWORK_HEADER)).then_some((offset?, usize::try_from(length).ok()?))
}

fn read_bitwise(attributes: &[Bitwise], length: usize) -> Option<Vec<u8>> {
    let mut mask = None;
    for attribute in attributes {
        match attribute {
            Bitwise::Mask(DataAttribute::Value(value)) => mask = Some(value.clone()),
            Bitwise::Xor(DataAttribute::Value(value)) if value.iter().any(|byte| *byte != 0) => return None,
            // 0: a mask.
            Bitwise::Op(operation) if *operation != 0 => return None,
            _ => (),
        }
    }
    mask.filter(|mask| mask.len() == length)
}

fn read_verdict(expression: &Expressions) -> Option<Verdict> {
    match expression {
        Expressions::Immediate(attributes) => {
            let code = read_code(attributes)?;
            if code == u32::from(Code::Return) {
                Some(Verdict::Return)
            } else {
                (code == ACCEPT).then_some(Verdict::Accept)
            }
        }
        Expressions::Other { expression_type, attributes } if expression_type == MASQUERADE => {
            let flags = attributes.iter().find(|attribute| attribute.kind() == MASQUERADE_FLAGS)?;
            let mut value = [0; 4];
            (flags.value_len() == value.len()).then(|| flags.emit_value(&mut value))?;
            (u32::from_be_bytes(value) == FULLY_RANDOM).then_some(Verdict::Masquerade)
        }
        _ => None,
    }
}

/// The first bytes of an address, and zeros.
fn padded(bytes: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    octets.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use flannel_core::{forward_rules, masquerade_rules};

    use netlink_packet_netfilter::nftables::{Cmp, Operator};

    use super::*;

    /// A match of iptables.
    fn xt_match(name: &str) -> Expressions {
        let attributes =
            vec![DefaultNla::new(1, name.as_bytes().to_vec()), DefaultNla::new(3, b"text".to_vec())];
        Expressions::Other { expression_type: "match".into(), attributes }
    }

    fn network() -> Ipv4Net {
        "10.1.0.0/16".parse().unwrap()
    }

    #[test]
    fn what_is_sent_is_read() {
        let subnet = "10.1.34.0/23".parse().unwrap();
        for rule in masquerade_rules(network(), subnet).into_iter().chain(forward_rules(network())) {
            assert_eq!(read(rule.chain, &expressions(&rule)), Some(rule));
        }
    }

    #[test]
    fn rules_of_iptables() {
        let [rule, _] = forward_rules(network());
        let counter = Expressions::Other { expression_type: "counter".into(), attributes: Vec::new() };
        let listed = [
            Expressions::Payload(vec![Payload::Base(1), Payload::Offset(12), Payload::Len(2)]),
            Expressions::Cmp(vec![Cmp::Op(Operator::Equal), Cmp::Data(DataAttribute::Value(vec![10, 1]))]),
            xt_match("comment"),
            counter,
            verdict(ACCEPT),
        ];
        assert_eq!(read(Chain::Forward, &listed), Some(rule));
        // Any other match is a condition.
        let listed = [&listed[..2], &[xt_match("limit")], &listed[3..]].concat();
        assert_eq!(read(Chain::Forward, &listed), None);
    }

    #[test]
    fn other_rules() {
        let [rule, _] = forward_rules(network());
        let whole = expressions(&rule);
        let check = |listed: &[Expressions]| assert_eq!(read(Chain::Forward, listed), None, "{listed:?}");
        check(&[]);
        check(&whole[1..]);
        check(&whole[..whole.len() - 1]);
        check(&[&whole[..], &whole[3..]].concat());
        check(&[&whole[..3], &whole[..]].concat());
        check(&[&whole[..3], &[verdict(0)]].concat());
        let unmarked = Expressions::Other { expression_type: MASQUERADE.into(), attributes: Vec::new() };
        check(&[&whole[..3], &[unmarked]].concat());
    }
}
