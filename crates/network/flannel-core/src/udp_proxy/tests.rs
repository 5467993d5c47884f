use super::*;

const SUBNET: &str = "10.1.1.0/24";

fn hosts() -> UdpHosts {
    let host = |last| SocketAddrV4::new(Ipv4Addr::new(192, 168, 0, last), 8285);
    let hosts = [("10.1.2.0/24", 2), ("10.1.3.0/24", 3), ("10.1.3.128/25", 4), ("10.1.200.0/24", 5)];
    UdpHosts::new(&hosts.into_iter().map(|(subnet, last)| (subnet.parse().unwrap(), host(last))).collect())
}

/// A UDP packet with a right checksum.
fn packet(source: &str, destination: &str, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, ttl, 17, 0, 0];
    for address in [source, destination] {
        packet.extend(address.parse::<Ipv4Addr>().unwrap().octets());
    }
    packet.extend(payload);
    let length = u16::try_from(packet.len()).unwrap();
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    with_checksum(packet)
}

fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn outgoing(packet: &mut [u8]) -> (Outgoing, Vec<u8>) {
    let mut answer = [0xaa; MAX_ANSWER];
    let decision = hosts().outgoing(packet, &mut answer);
    let length = if let Outgoing::Answer(length) = decision { length } else { 0 };
    (decision, answer[..length].to_vec())
}

#[test]
fn the_host_of_a_destination() {
    let check = |address: &str, expected: Option<u8>| {
        let found = hosts().find(address.parse().unwrap());
        assert_eq!(found.map(|host| host.ip().octets()[3]), expected, "{address}");
    };
    check("10.1.2.0", Some(2));
    check("10.1.2.255", Some(2));
    check("10.1.3.127", Some(3));
    // The smaller of two nested subnets.
    check("10.1.3.128", Some(4));
    check("10.1.200.7", Some(5));
    check("10.1.1.1", None);
    check("10.1.4.0", None);
    check("0.0.0.0", None);
    let all = BTreeMap::from([("0.0.0.0/0".parse().unwrap(), "192.168.0.9:1".parse().unwrap())]);
    assert_eq!(UdpHosts::new(&all).find(Ipv4Addr::BROADCAST), Some("192.168.0.9:1".parse().unwrap()));
    assert_eq!(UdpHosts::default().find(Ipv4Addr::BROADCAST), None);
}

#[test]
fn a_packet_is_sent_with_a_lower_ttl_and_its_checksum() {
    let mut sent = packet("10.1.1.2", "10.1.2.2", 64, b"payload");
    assert_eq!(outgoing(&mut sent).0, Outgoing::Send("192.168.0.2:8285".parse().unwrap()));
    assert_eq!(sent, packet("10.1.1.2", "10.1.2.2", 63, b"payload"));
    // Any bytes after the packet are sent as they are.
    let mut padded = [packet("10.1.1.2", "10.1.2.2", 64, b"payload"), vec![0; 9]].concat();
    assert_eq!(outgoing(&mut padded).0, Outgoing::Send("192.168.0.2:8285".parse().unwrap()));
}

/// Every header checksum, and every TTL: the changed checksum is the one of the changed header.
#[test]
fn checksums() {
    for identification in 0..=u16::MAX {
        let mut one = packet("10.1.1.2", "10.1.2.2", 0, b"");
        let [high, low] = identification.to_be_bytes();
        (one[4], one[5], one[8]) = (high, low, 2 + high % 254);
        one = with_checksum(one);
        let mut expected = one.clone();
        expected[8] -= 1;
        decrement_ttl(&mut one).unwrap();
        assert_eq!(one, with_checksum(expected), "{identification:#x}");
    }
}

#[test]
fn a_ttl_ends() {
    for ttl in [0, 1] {
        let decision = outgoing(&mut packet("10.1.1.2", "10.1.2.2", ttl, b"")).0;
        assert_eq!(decision, Outgoing::Discard(Discard::TtlExceeded));
        let decision = incoming(&mut packet("10.1.2.2", "10.1.1.2", ttl, b""), SUBNET.parse().unwrap());
        assert_eq!(decision, Err(Discard::TtlExceeded));
    }
}

#[test]
fn a_destination_without_a_host_is_answered() {
    let mut sent = packet("10.1.1.2", "10.1.99.2", 64, b"twelve bytes");
    let (decision, answer) = outgoing(&mut sent);
    assert_eq!(decision, Outgoing::Answer(20 + 8 + 20 + 8));
    let mut expected = packet("10.1.99.2", "10.1.1.2", ANSWER_TTL, &answer[20..]);
    (expected[4], expected[5], expected[6], expected[9]) = (0, 0, 0, ICMP);
    assert_eq!(answer, with_checksum(expected));
    assert_eq!((&answer[20..22], &answer[24..28]), (&[3, 0][..], &[0; 4][..]));
    // Header and eight bytes, of the packet as it was sent.
    assert_eq!(answer[28..], packet("10.1.1.2", "10.1.99.2", 64, b"twelve bytes")[..28]);
    assert_eq!(checksum(&answer[20..]), 0, "the sum over a message with its checksum");

    // Fewer bytes than an answer has of a packet, and an odd number of them.
    assert_eq!(outgoing(&mut packet("10.1.1.2", "10.1.99.2", 64, b"one")).1.len(), 28 + 23);
    // All options.
    let mut options = packet("10.1.1.2", "10.1.99.2", 64, &[0; 48]);
    options[0] = 0x4f;
    let (_, answer) = outgoing(&mut options);
    assert_eq!(answer.len(), MAX_ANSWER);
    assert_eq!(checksum(&answer[20..]), 0);
}

#[test]
fn what_is_never_answered() {
    let check = |change: fn(&mut Vec<u8>)| {
        let mut sent = packet("10.1.1.2", "10.1.99.2", 64, b"payload");
        change(&mut sent);
        assert_eq!(outgoing(&mut sent).0, Outgoing::Discard(Discard::Unreachable), "{sent:?}");
    };
    check(|icmp| icmp[9] = 1);
    check(|fragment| fragment[7] = 1);
    check(|multicast| multicast[16] = 224);
    check(|broadcast| broadcast[16..20].fill(255));
    check(|unspecified| unspecified[12..16].fill(0));
    check(|multicast| multicast[12] = 224);
}

#[test]
fn packets_of_other_hosts() {
    let subnet = SUBNET.parse().unwrap();
    let mut received = packet("10.1.2.2", "10.1.1.2", 63, b"payload");
    assert_eq!(incoming(&mut received, subnet), Ok(()));
    assert_eq!(received, packet("10.1.2.2", "10.1.1.2", 62, b"payload"));
    for destination in ["10.1.2.2", "192.168.0.1", "224.0.0.1", "255.255.255.255", "127.0.0.1"] {
        let mut other = packet("10.1.2.2", destination, 63, b"payload");
        assert_eq!(incoming(&mut other, subnet), Err(Discard::OtherSubnet), "{destination}");
    }
}

#[test]
fn packets_that_are_none() {
    let check = |change: fn(&mut Vec<u8>), expected| {
        let mut sent = packet("10.1.2.2", "10.1.1.2", 64, b"payload");
        change(&mut sent);
        assert_eq!(incoming(&mut sent, SUBNET.parse().unwrap()), Err(expected), "{sent:?}");
        assert_eq!(outgoing(&mut sent).0, Outgoing::Discard(expected), "{sent:?}");
    };
    check(|ipv6| ipv6[0] = 0x65, Discard::NotIpv4);
    check(Vec::clear, Discard::Malformed);
    check(|cut| cut.truncate(19), Discard::Malformed);
    check(|cut| cut.truncate(26), Discard::Malformed);
    check(|header| header[0] = 0x44, Discard::Malformed);
    check(|header| header[0] = 0x4f, Discard::Malformed);
    check(|total| total[3] = 19, Discard::Malformed);
    check(|total| total[2] = 0xff, Discard::Malformed);
}

/// Random changes of packets, and random bytes: no panic, nothing is sent that is not in a host's subnet, and only TTL
/// and checksum change.
#[test]
fn any_bytes() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200_000 {
        let destination = format!("10.1.{}.{}", random.u8(..6), random.u8(..));
        let mut payload = vec![0; random.usize(..64)];
        random.fill(&mut payload);
        let mut bytes = packet("10.1.1.2", &destination, random.u8(..4), &payload);
        for _ in 0..random.usize(..3) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..bytes.len() * 2));
        if random.u8(..8) == 0 {
            random.fill(&mut bytes);
        }
        let unchanged = |after: &[u8]| {
            (0..after.len()).filter(|at| ![8, 10, 11].contains(at)).all(|at| after[at] == bytes[at])
        };
        let mut sent = bytes.clone();
        match outgoing(&mut sent) {
            (Outgoing::Send(host), _) => {
                let found = hosts().find(Ipv4Addr::new(sent[16], sent[17], sent[18], sent[19]));
                assert_eq!(found, Some(host), "seed {seed}");
                assert_eq!(sent[8], bytes[8] - 1, "seed {seed}");
            }
            (Outgoing::Answer(length), answer) => {
                assert!(length <= MAX_ANSWER && sent == bytes, "seed {seed}");
                assert_eq!(checksum(&answer[..20]), 0, "seed {seed}");
                assert_eq!(checksum(&answer[20..]), 0, "seed {seed}");
            }
            (Outgoing::Discard(_), _) => assert_eq!(sent, bytes, "seed {seed}"),
        }
        assert!(unchanged(&sent), "seed {seed}");
        let mut received = bytes.clone();
        if incoming(&mut received, SUBNET.parse().unwrap()).is_ok() {
            assert_eq!(received[16..19], [10, 1, 1], "seed {seed}");
        }
        assert!(unchanged(&received), "seed {seed}");
    }
}
