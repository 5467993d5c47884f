//! Expressions of rules: conditions, and what is done with a packet.
//!
//! A condition loads a value into a register and compares it; a packet that differs leaves the rule.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, Expressions, Immediate, Meta, MetaKey, Operator, Payload, Register,
    Verdict as Code, VerdictAttribute,
};

/// Headers of a packet, as the kernel numbers them.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// The second register of 16 bytes.
const REGISTER_1: u32 = 1;
const REGISTER_2: u32 = 2;
const ADDRESS_LENGTH: u32 = 4;
const PORT_LENGTH: u32 = 2;
const DESTINATION_PORT_OFFSET: u32 = 2;
/// Bytes of an interface's name.
const NAME_LENGTH: usize = 16;
const FAMILY_IPV4: u32 = 2;
/// `fib daddr type`: the flag of the destination, and the result.
const FIB_DESTINATION: u32 = 1 << 1;
const FIB_ADDRESS_TYPE: u32 = 3;
/// The type of addresses of this machine (`RTN_LOCAL`), in the byte order of the machine.
const LOCAL: u32 = 2;
const DESTINATION_NAT: u32 = 1;

/// Which address of the IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The sender's.
    Source,
    /// The receiver's.
    Destination,
}

impl Address {
    /// Bytes from the start of the header.
    #[must_use]
    pub fn offset(self) -> u32 {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
        }
    }
}

/// Which interface of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// Through which it arrived.
    Input,
    /// Through which it leaves.
    Output,
}

/// The address is in a network, or is not.
#[must_use]
pub fn address_is(address: Address, network: Ipv4Net, negated: bool) -> Vec<Expressions> {
    let value = |address: Ipv4Addr| DataAttribute::Value(address.octets().to_vec());
    let operator = if negated { Operator::NotEqual } else { Operator::Equal };
    vec![
        payload(NETWORK_HEADER, address.offset(), ADDRESS_LENGTH),
        Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(ADDRESS_LENGTH),
            Bitwise::Mask(value(network.netmask())),
            Bitwise::Xor(value(Ipv4Addr::UNSPECIFIED)),
        ]),
        compare(operator, network.network().octets().to_vec()),
    ]
}

/// The destination is an address of this machine.
#[must_use]
pub fn destination_is_local() -> Vec<Expressions> {
    let number = |kind: u16, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let attributes = vec![number(1, REGISTER_1), number(2, FIB_ADDRESS_TYPE), number(3, FIB_DESTINATION)];
    vec![
        Expressions::Other { expression_type: "fib".into(), attributes },
        compare(Operator::Equal, LOCAL.to_ne_bytes().to_vec()),
    ]
}

/// The interface has this name.
#[must_use]
pub fn interface_is(interface: Interface, name: &str) -> Vec<Expressions> {
    let key = match interface {
        Interface::Input => MetaKey::Iifname,
        Interface::Output => MetaKey::Oifname,
    };
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(NAME_LENGTH, 0);
    vec![meta(key), compare(Operator::Equal, bytes)]
}

/// The packet is of a transport protocol, by its number of IANA, and for a port.
#[must_use]
pub fn destination_port_is(protocol: u8, port: u16) -> Vec<Expressions> {
    vec![
        meta(MetaKey::L4Proto),
        compare(Operator::Equal, vec![protocol]),
        payload(TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, PORT_LENGTH),
        compare(Operator::Equal, port.to_be_bytes().to_vec()),
    ]
}

/// The packet's destination becomes this address and port.
#[must_use]
pub fn destination_nat(address: Ipv4Addr, port: u16) -> Vec<Expressions> {
    let load = |register, value| {
        Expressions::Immediate(vec![
            Immediate::DestinationRegister(register),
            Immediate::Data(DataAttribute::Value(value)),
        ])
    };
    let number = |kind: u16, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let attributes = vec![
        number(1, DESTINATION_NAT),
        number(2, FAMILY_IPV4),
        number(3, REGISTER_1),
        number(5, REGISTER_2),
    ];
    vec![
        load(Register::Reg1, address.octets().to_vec()),
        load(Register::Reg2, port.to_be_bytes().to_vec()),
        Expressions::Other { expression_type: "nat".into(), attributes },
    ]
}

/// The packet's source becomes the address of the interface through which it leaves.
#[must_use]
pub fn masquerade() -> Expressions {
    Expressions::Other { expression_type: "masq".into(), attributes: Vec::new() }
}

/// Ends the chain, or the packet: its number.
#[must_use]
pub fn verdict(number: u32) -> Expressions {
    immediate(Code::Other(number))
}

/// Returns to the chain that called this one.
#[must_use]
pub fn return_to_caller() -> Expressions {
    immediate(Code::Return)
}

fn immediate(code: Code) -> Expressions {
    let verdict = DataAttribute::Verdict(vec![VerdictAttribute::Code(code)]);
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), Immediate::Data(verdict)])
}

fn payload(header: u32, offset: u32, length: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(header),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::DestinationRegister(Register::Reg1), Meta::Key(key)])
}

fn compare(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// Whether it counts packets, as each rule of iptables does.
#[must_use]
pub fn is_counter(expression: &Expressions) -> bool {
    matches!(expression, Expressions::Other { expression_type, .. } if expression_type == "counter")
}

/// Whether a listed comparison is negated, and its value.
#[must_use]
pub fn read_comparison(attributes: &[Cmp]) -> Option<(bool, Vec<u8>)> {
    let (mut negated, mut data) = (None, None);
    for attribute in attributes {
        match attribute {
            Cmp::Op(Operator::Equal) => negated = Some(false),
            Cmp::Op(Operator::NotEqual) => negated = Some(true),
            Cmp::Data(DataAttribute::Value(value)) => data = Some(value.clone()),
            _ => (),
        }
    }
    negated.zip(data)
}

/// The number of a listed verdict.
#[must_use]
pub fn read_verdict(attributes: &[Immediate]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        Immediate::Data(DataAttribute::Verdict(verdict)) => {
            verdict.iter().find_map(|attribute| match attribute {
                VerdictAttribute::Code(code) => Some(u32::from(*code)),
                _ => None,
            })
        }
        _ => None,
    })
}

/// The interface that a listed condition of two expressions requires, if it is one of [`interface_is`].
#[must_use]
pub fn read_interface(loaded: &Expressions, compared: &Expressions) -> Option<(Interface, String)> {
    let (Expressions::Meta(meta), Expressions::Cmp(cmp)) = (loaded, compared) else { return None };
    let interface = meta.iter().find_map(|attribute| match attribute {
        Meta::Key(MetaKey::Iifname) => Some(Interface::Input),
        Meta::Key(MetaKey::Oifname) => Some(Interface::Output),
        _ => None,
    })?;
    let (negated, value) = read_comparison(cmp)?;
    // Without a zero byte, it is the beginning of names.
    let end = value.iter().position(|byte| *byte == 0)?;
    (!negated).then(|| (interface, String::from_utf8_lossy(&value[..end]).into_owned()))
}
