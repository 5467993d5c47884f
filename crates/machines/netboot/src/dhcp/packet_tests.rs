use super::*;

/// Written down from RFC 2131 and RFC 4578, field by field, not by the encoder.
fn discover() -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 4, 0x80, 0];
    bytes.extend([0; 16]);
    bytes.extend([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    bytes.extend([0; 10 + 64 + 128]);
    bytes.extend([99, 130, 83, 99]);
    bytes.extend([53, 1, 1]);
    bytes.extend([0, 0]);
    bytes.extend([55, 4, 1, 3, 43, 60]);
    bytes.extend([93, 2, 0, 0]);
    bytes.extend([97, 17, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    bytes.extend([60, 32]);
    bytes.extend(b"PXEClient:Arch:00000:UNDI:002001");
    bytes.push(255);
    bytes
}

#[test]
fn a_discover_is_decoded() {
    let packet = Packet::decode(&discover()).unwrap();
    assert_eq!(packet.operation, Operation::Request);
    assert_eq!(packet.transaction, 0xdead_beef);
    assert_eq!((packet.seconds, packet.flags), (4, 0x8000));
    assert_eq!(packet.mac.to_string(), "52:54:00:12:34:56");
    assert_eq!(packet.message_type(), Some(MessageType::Discover));
    assert_eq!(packet.options[&option::ARCHITECTURE], [0, 0]);
    assert_eq!(packet.options[&option::CLASS], b"PXEClient:Arch:00000:UNDI:002001");
    assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
}

#[test]
fn an_offer_has_its_fields_where_clients_read_them() {
    let mut packet = Packet::decode(&discover()).unwrap();
    packet.operation = Operation::Reply;
    packet.next_server = Ipv4Addr::new(10, 0, 0, 1);
    packet.file = "undionly.kpxe".to_owned();
    packet.options = BTreeMap::from([(43, vec![6, 1, 8, 255]), (54, vec![10, 0, 0, 1])]);
    packet.set_type(MessageType::Offer);
    let bytes = packet.encode();
    assert_eq!(bytes.len(), MINIMUM);
    assert_eq!(bytes[0], 2);
    assert_eq!(bytes[20..24], [10, 0, 0, 1]);
    assert_eq!(bytes[108..122], *b"undionly.kpxe\0");
    let options = [99, 130, 83, 99, 53, 1, 2, 43, 4, 6, 1, 8, 255, 54, 4, 10, 0, 0, 1, 255];
    assert_eq!(bytes[236..256], options);
    assert!(bytes[256..].iter().all(|byte| *byte == 0));
}

#[test]
fn long_options_are_split_and_joined() {
    let mut packet = Packet::decode(&discover()).unwrap();
    packet.options = BTreeMap::from([(67, vec![7; 600]), (80, Vec::new())]);
    let bytes = packet.encode();
    assert_eq!(bytes[240..242], [67, 255]);
    assert_eq!(bytes[240 + 257..242 + 257], [67, 255]);
    assert_eq!(bytes[240 + 514..242 + 514], [67, 90]);
    assert_eq!(Packet::decode(&bytes), Ok(packet));
}

#[test]
fn malformed_packets_are_refused() {
    let changed = |at: usize, value: u8| {
        let mut bytes = discover();
        bytes[at] = value;
        bytes
    };
    let length = discover().len();
    for (bytes, expect) in [
        (Vec::new(), DecodeError::Length(0)),
        (discover()[..239].to_vec(), DecodeError::Length(239)),
        (vec![0; DHCP_BYTES + 1], DecodeError::Length(DHCP_BYTES + 1)),
        (changed(0, 3), DecodeError::Operation(3)),
        (changed(1, 6), DecodeError::Hardware { kind: 6, length: 6 }),
        // Libraries that trust this length read beyond the field.
        (changed(2, 255), DecodeError::Hardware { kind: 1, length: 255 }),
        (changed(236, 0), DecodeError::Magic),
        (discover()[..length - 2].to_vec(), DecodeError::Truncated(60)),
        (discover()[..241].to_vec(), DecodeError::Truncated(53)),
    ] {
        assert_eq!(Packet::decode(&bytes), Err(expect));
    }
    // The end is optional; what follows it is not read.
    assert!(Packet::decode(&discover()[..length - 1]).is_ok());
    assert!(Packet::decode(&[discover(), vec![12]].concat()).is_ok());
}

#[test]
fn message_types_are_those_of_the_rfc() {
    let mut packet = Packet::decode(&discover()).unwrap();
    for (value, expect) in [
        (vec![1], Some(MessageType::Discover)),
        (vec![5], Some(MessageType::Ack)),
        (vec![8], Some(MessageType::Inform)),
        (vec![0], None),
        (vec![9], None),
        (vec![], None),
        (vec![1, 1], None),
    ] {
        packet.options.insert(option::MESSAGE_TYPE, value);
        assert_eq!(packet.message_type(), expect);
    }
}
