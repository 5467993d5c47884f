//! Backend udp's decision for each packet: which host receives it, how its header changes, and what a sender whose
//! packet no host receives is sent instead.
//!
//! On the wire a datagram's payload is one IPv4 packet, as with flannel. Packets are any bytes: containers send them, and
//! whoever reaches the UDP port. Nothing here panics, or allocates for a packet.

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

/// Bytes of an IPv4 header without options.
const MIN_HEADER: usize = 20;
/// Bytes of an IPv4 header with all options.
const MAX_HEADER: usize = 60;
const ICMP_HEADER: usize = 8;
/// Bytes after the header of a packet that an ICMP error has, so that the sender finds the connection.
const QUOTED_PAYLOAD: usize = 8;
const ICMP: u8 = 1;
/// Type "destination unreachable"; its code 0 is "net unreachable".
const UNREACHABLE: u8 = 3;
const ANSWER_TTL: u8 = 64;

/// Bytes of the longest answer.
pub const MAX_ANSWER: usize = MIN_HEADER + ICMP_HEADER + MAX_HEADER + QUOTED_PAYLOAD;

/// The hosts that receive packets, by their subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpHosts {
    /// By prefix length, the longest first: addresses of subnets, sorted, and their hosts.
    by_length: Vec<(u8, Vec<(u32, SocketAddrV4)>)>,
}

/// What happens to a packet of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// The packet, whose TTL is one lower, is sent to this host.
    Send(SocketAddrV4),
    /// No lease contains the destination: this number of bytes of the answer is written to the device.
    Answer(usize),
    /// Nothing.
    Discard(Discard),
}

/// Why a packet is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// It is not an IPv4 packet; of IPv6, the kernel sends some to each device.
    NotIpv4,
    /// Its lengths contradict its size.
    Malformed,
    /// Its TTL ends here.
    TtlExceeded,
    /// It came from another host, and is not for this host's subnet.
    OtherSubnet,
    /// No lease contains the destination, and ICMP has no answer to such a packet.
    Unreachable,
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Discard::NotIpv4 => "it is not an IPv4 packet",
            Discard::Malformed => "its lengths contradict its size",
            Discard::TtlExceeded => "its TTL is exceeded",
            Discard::OtherSubnet => "its destination is not in the subnet of this host",
            Discard::Unreachable => "no lease contains its destination",
        })
    }
}

impl UdpHosts {
    /// The hosts of [`crate::Desired::datagrams`].
    pub fn new(hosts: &BTreeMap<Ipv4Net, SocketAddrV4>) -> UdpHosts {
        let mut by_length: BTreeMap<u8, Vec<(u32, SocketAddrV4)>> = BTreeMap::new();
        for (subnet, host) in hosts {
            by_length.entry(subnet.prefix_len()).or_default().push((subnet.network().into(), *host));
        }
        let sorted = by_length.into_iter().rev().map(|(length, mut hosts)| {
            hosts.sort_unstable_by_key(|(subnet, _)| *subnet);
            (length, hosts)
        });
        UdpHosts { by_length: sorted.collect() }
    }

    /// The host whose subnet contains the address; of nested subnets, the smallest counts.
    pub fn find(&self, address: Ipv4Addr) -> Option<SocketAddrV4> {
        self.by_length.iter().find_map(|(length, hosts)| {
            let subnet = u32::from(address) & u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
            let found = hosts.binary_search_by_key(&subnet, |(subnet, _)| *subnet).ok()?;
            hosts.get(found).map(|(_, host)| *host)
        })
    }

    /// Decides about a packet that the device received from this host. `answer` is used for an answer only.
    pub fn outgoing(&self, packet: &mut [u8], answer: &mut [u8; MAX_ANSWER]) -> Outgoing {
        let header = match Header::read(packet) {
            Ok(header) => header,
            Err(discard) => return Outgoing::Discard(discard),
        };
        let Some(host) = self.find(header.destination) else {
            let length = header.unreachable(packet, answer);
            return length.map_or(Outgoing::Discard(Discard::Unreachable), Outgoing::Answer);
        };
        match decrement_ttl(packet) {
            Ok(()) => Outgoing::Send(host),
            Err(discard) => Outgoing::Discard(discard),
        }
    }
}

/// Decides about a packet of another host: it is written to the device, unless it is not for this host's `subnet`.
///
/// # Errors
/// The packet is discarded.
pub fn incoming(packet: &mut [u8], subnet: Ipv4Net) -> Result<(), Discard> {
    let header = Header::read(packet)?;
    if !subnet.contains(&header.destination) {
        return Err(Discard::OtherSubnet);
    }
    decrement_ttl(packet)
}

/// What the decisions need of an IPv4 header.
struct Header {
    length: usize,
    protocol: u8,
    is_first_fragment: bool,
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl Header {
    /// Reads a header that has its lengths within the packet. The kernel verifies its checksum.
    fn read(packet: &[u8]) -> Result<Header, Discard> {
        let Some(fixed) = packet.first_chunk::<MIN_HEADER>() else { return Err(Discard::Malformed) };
        if fixed[0] >> 4 != 4 {
            return Err(Discard::NotIpv4);
        }
        let length = usize::from(fixed[0] & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
        if length < MIN_HEADER || total < length || packet.len() < total {
            return Err(Discard::Malformed);
        }
        Ok(Header {
            length,
            protocol: fixed[9],
            is_first_fragment: u16::from_be_bytes([fixed[6], fixed[7]]) & 0x1fff == 0,
            source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
            destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
        })
    }

    /// Writes the ICMP message "net unreachable" about the packet, and returns its length; none where ICMP forbids one:
    /// about ICMP itself, fragments other than the first, and packets that are not of or to a single host.
    fn unreachable(&self, packet: &[u8], answer: &mut [u8; MAX_ANSWER]) -> Option<usize> {
        let one_host = |address: Ipv4Addr| {
            !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        };
        let allowed = self.protocol != ICMP
            && self.is_first_fragment
            && one_host(self.source)
            && one_host(self.destination);
        let quoted = packet.get(..packet.len().min(self.length + QUOTED_PAYLOAD)).filter(|_| allowed)?;
        let length = MIN_HEADER + ICMP_HEADER + quoted.len();
        answer.fill(0);
        let (ip, rest) = answer.split_first_chunk_mut::<MIN_HEADER>()?;
        let icmp = rest.get_mut(..length - MIN_HEADER)?;
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&u16::try_from(length).ok()?.to_be_bytes());
        ip[8] = ANSWER_TTL;
        ip[9] = ICMP;
        // Not the device's address, which flannel uses: the kernel drops a received packet with an address of its own.
        ip[12..16].copy_from_slice(&self.destination.octets());
        ip[16..20].copy_from_slice(&self.source.octets());
        let sum = checksum(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        icmp[0] = UNREACHABLE;
        icmp.get_mut(ICMP_HEADER..)?.copy_from_slice(quoted);
        let sum = checksum(icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        Some(length)
    }
}

/// Lowers the TTL, and changes the checksum by the difference (RFC 1624).
fn decrement_ttl(packet: &mut [u8]) -> Result<(), Discard> {
    let Some(fixed) = packet.first_chunk_mut::<MIN_HEADER>() else { return Err(Discard::Malformed) };
    if fixed[8] <= 1 {
        return Err(Discard::TtlExceeded);
    }
    fixed[8] -= 1;
    let sum = u32::from(u16::from_be_bytes([fixed[10], fixed[11]])) + 0x0100;
    // The sum of one's complement: the carry is added, and 0xffff is 0.
    let [_, _, high, low] = (sum + u32::from(sum >= 0xffff)).to_be_bytes();
    fixed[10..12].copy_from_slice(&[high, low]);
    Ok(())
}

/// The Internet checksum of bytes whose own checksum field is 0.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| {
        let low = word.get(1).copied().unwrap_or_default();
        u32::from(u16::from_be_bytes([word[0], low]))
    });
    // An answer has at most 96 bytes: the sum of 48 words does not overflow.
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests;
