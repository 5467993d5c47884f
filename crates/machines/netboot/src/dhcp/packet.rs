//! The wire format of DHCP (RFC 2131, 2132), as far as network boot needs it: Ethernet, one packet per datagram.
//!
//! Options are bytes here. A parser that gives each option its type, as general libraries do, drops all options after
//! the first one that it does not accept, and firmware sends odd ones.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::limits::DHCP_BYTES;
use crate::machine::Mac;

/// Numbers of options.
pub mod option {
    /// Subnet mask.
    pub const MASK: u8 = 1;
    /// Routers.
    pub const ROUTER: u8 = 3;
    /// Name servers.
    pub const NAME_SERVER: u8 = 6;
    /// The client's host name.
    pub const HOST_NAME: u8 = 12;
    /// Options of PXE: what to do with this answer.
    pub const VENDOR: u8 = 43;
    /// The address that the client wants.
    pub const REQUESTED_ADDRESS: u8 = 50;
    /// Seconds.
    pub const LEASE_TIME: u8 = 51;
    /// DISCOVER, OFFER, ...
    pub const MESSAGE_TYPE: u8 = 53;
    /// The server that the client selected, or that answers.
    pub const SERVER: u8 = 54;
    /// `PXEClient` or `HTTPClient`.
    pub const CLASS: u8 = 60;
    /// Boot file, where the header's field is too short or not read.
    pub const BOOT_FILE: u8 = 67;
    /// `iPXE`.
    pub const USER_CLASS: u8 = 77;
    /// Architecture of the firmware (RFC 4578).
    pub const ARCHITECTURE: u8 = 93;
    /// UUID of the firmware (RFC 4578).
    pub const UUID: u8 = 97;
    /// Options of iPXE.
    pub const IPXE: u8 = 175;
    pub(super) const PAD: u8 = 0;
    pub(super) const END: u8 = 255;
}

/// Length of the header with the magic number of the options.
const HEADER: usize = 240;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
const ETHERNET: u8 = 1;
/// BOOTP's minimum, which some relays and firmware require.
const MINIMUM: usize = 300;
/// Bytes of a boot file's name in the header, without the terminating zero.
pub const FILE_BYTES: usize = 127;

/// Direction of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// To a server.
    Request,
    /// To a client.
    Reply,
}

/// The types of DHCP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of RFC 2131")]
pub enum MessageType {
    Discover,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

const TYPES: [MessageType; 8] = [
    MessageType::Discover,
    MessageType::Offer,
    MessageType::Request,
    MessageType::Decline,
    MessageType::Ack,
    MessageType::Nak,
    MessageType::Release,
    MessageType::Inform,
];

impl MessageType {
    fn number(self) -> u8 {
        TYPES.iter().zip(1..).find(|(one, _)| **one == self).map_or(0, |(_, number)| number)
    }
}

/// A packet, without the fields that network boot does not need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Direction.
    pub operation: Operation,
    /// Relays on the way.
    pub hops: u8,
    /// Pairs requests and replies.
    pub transaction: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The highest bit requests a broadcast reply.
    pub flags: u16,
    /// The address that the client has.
    pub client_address: Ipv4Addr,
    /// The address that the client gets.
    pub your_address: Ipv4Addr,
    /// The server that has the boot file.
    pub next_server: Ipv4Addr,
    /// The relay that replies go to.
    pub relay: Ipv4Addr,
    /// The client.
    pub mac: Mac,
    /// Name of the boot file, at most [`FILE_BYTES`] long.
    pub file: String,
    /// By number. A repeated option is one value (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

/// Why bytes are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum DecodeError {
    #[error("{0} bytes are not the length of a DHCP packet")]
    Length(usize),
    #[error("operation {0} is neither a request nor a reply")]
    Operation(u8),
    #[error("hardware type {kind} with addresses of {length} bytes is not Ethernet")]
    Hardware { kind: u8, length: u8 },
    #[error("the options have no magic number")]
    Magic,
    #[error("option {0} is truncated")]
    Truncated(u8),
}

impl Packet {
    /// Decodes a datagram.
    ///
    /// # Errors
    /// It is no DHCP packet of an Ethernet.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > DHCP_BYTES {
            return Err(DecodeError::Length(bytes.len()));
        }
        let (header, options) =
            bytes.split_first_chunk::<HEADER>().ok_or(DecodeError::Length(bytes.len()))?;
        let operation = match header[0] {
            1 => Operation::Request,
            2 => Operation::Reply,
            other => return Err(DecodeError::Operation(other)),
        };
        let [kind, length] = [header[1], header[2]];
        if (kind, length) != (ETHERNET, 6) {
            return Err(DecodeError::Hardware { kind, length });
        }
        if header[236..] != MAGIC {
            return Err(DecodeError::Magic);
        }
        let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
        let mut mac = [0; 6];
        mac.copy_from_slice(&header[28..34]);
        let file = &header[108..236];
        let file = file.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Self {
            operation,
            hops: header[3],
            transaction: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            seconds: u16::from_be_bytes([header[8], header[9]]),
            flags: u16::from_be_bytes([header[10], header[11]]),
            client_address: address(12),
            your_address: address(16),
            next_server: address(20),
            relay: address(24),
            mac: Mac(mac),
            file: String::from_utf8_lossy(&file[..file.len().min(FILE_BYTES)]).into_owned(),
            options: decode_options(options)?,
        })
    }

    /// Encodes the packet. A file or option that is too long for its field is cut: callers check before.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MINIMUM);
        bytes.push(if self.operation == Operation::Request { 1 } else { 2 });
        bytes.extend([ETHERNET, 6, self.hops]);
        bytes.extend(self.transaction.to_be_bytes());
        bytes.extend(self.seconds.to_be_bytes());
        bytes.extend(self.flags.to_be_bytes());
        for address in [self.client_address, self.your_address, self.next_server, self.relay] {
            bytes.extend(address.octets());
        }
        bytes.extend(self.mac.0);
        bytes.resize(108, 0);
        let file = self.file.as_bytes();
        bytes.extend(&file[..file.len().min(FILE_BYTES)]);
        bytes.resize(HEADER - MAGIC.len(), 0);
        bytes.extend(MAGIC);
        // The type first: some clients and filters read no further.
        let is_type = |number: &u8| *number == option::MESSAGE_TYPE;
        let (first, others): (Vec<_>, Vec<_>) = self.options.iter().partition(|(number, _)| is_type(number));
        for (number, value) in first.into_iter().chain(others) {
            encode_option(*number, value, &mut bytes);
        }
        bytes.push(option::END);
        if bytes.len() < MINIMUM {
            bytes.resize(MINIMUM, 0);
        }
        bytes
    }

    /// Type of the message; `None` in packets of BOOTP.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        let [number] = **self.options.get(&option::MESSAGE_TYPE)? else { return None };
        TYPES.get(usize::from(number.checked_sub(1)?)).copied()
    }

    /// Sets the type of the message.
    pub fn set_type(&mut self, kind: MessageType) {
        self.options.insert(option::MESSAGE_TYPE, vec![kind.number()]);
    }

    /// The value of an option that is an address.
    #[must_use]
    pub fn address(&self, number: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.options.get(&number)?.as_slice().try_into().ok()?;
        Some(octets.into())
    }
}

fn decode_options(mut bytes: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, DecodeError> {
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    while let [number, rest @ ..] = bytes {
        match *number {
            option::PAD => bytes = rest,
            // Without an end the packet's end is one.
            option::END => break,
            number => {
                let truncated = DecodeError::Truncated(number);
                let [length, rest @ ..] = rest else { return Err(truncated) };
                let (value, rest) = rest.split_at_checked(usize::from(*length)).ok_or(truncated)?;
                options.entry(number).or_default().extend_from_slice(value);
                bytes = rest;
            }
        }
    }
    Ok(options)
}

fn encode_option(number: u8, value: &[u8], to: &mut Vec<u8>) {
    let mut put = |part: &[u8]| {
        to.push(number);
        to.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        to.extend_from_slice(part);
    };
    if value.is_empty() {
        put(&[]);
    }
    value.chunks(usize::from(u8::MAX)).for_each(put);
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
