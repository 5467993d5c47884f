//! DHCP packets that reach the netboot server.

use std::net::{Ipv4Addr, SocketAddrV4};

use netboot::dhcp::lease::Leases;
use netboot::dhcp::packet::{FILE_BYTES, MessageType, Operation, Packet, option};
use netboot::dhcp::reply::{Ignored, Network, Port, Selection, Server, destination, lease, proxy};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "dhcp",
    about: "a packet is refused, or decoded as it is encoded; its answer is one that a client decodes, and gives no address \
            that the server does not have",
    run,
    seeds,
};

/// The longest packet that is decoded.
const FRAME: usize = 1500;
const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 50);
const LAST: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 53);

fn server() -> Server {
    Server {
        address: OWN,
        url: "http://10.9.0.1:8042".to_owned(),
        bios_loader: Some("undionly.kpxe".to_owned()),
        efi_loader: Some("snponly.efi".to_owned()),
    }
}

fn run(bytes: &[u8]) {
    let request = match Packet::decode(bytes) {
        Ok(request) => request,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    // Repeated options are joined, so that an encoded packet may be longer.
    let encoded = request.encode();
    if encoded.len() <= FRAME {
        assert_eq!(Packet::decode(&encoded).as_ref(), Ok(&request));
    }
    let selection = Selection::Network { uki: Some("a-pxe.efi".to_owned()), prefers_uki: true };
    let server = server();
    for port in [Port::Server, Port::Boot] {
        match proxy(&request, port, &server, &selection) {
            Ok(reply) => {
                assert_eq!(reply.your_address, Ipv4Addr::UNSPECIFIED);
                assert!(!reply.options.contains_key(&option::LEASE_TIME));
                check_reply(&request, &reply, port);
                assert_eq!(proxy(&request, port, &server, &Selection::Disk), Err(Ignored::Disk));
            }
            Err(why) => assert!(!why.to_string().is_empty() && !why.name().is_empty()),
        }
    }
    let network =
        Network { mask: Ipv4Addr::new(255, 255, 255, 0), router: Some(OWN), name_servers: vec![OWN] };
    let mut leases = Leases::new(format!("{FIRST}-{LAST}").parse().unwrap(), OWN);
    for now in 0..2 {
        let Ok(reply) = lease(&request, &server, &network, &selection, &mut leases, now) else { continue };
        let address = reply.your_address;
        assert!(address.is_unspecified() || (FIRST..=LAST).contains(&address), "{address}");
        check_reply(&request, &reply, Port::Server);
    }
    assert!(leases.records().len() <= 1);
}

fn check_reply(request: &Packet, reply: &Packet, port: Port) {
    assert_eq!(
        (reply.operation, reply.transaction, reply.mac),
        (Operation::Reply, request.transaction, request.mac)
    );
    assert!(matches!(reply.message_type(), Some(MessageType::Offer | MessageType::Ack | MessageType::Nak)));
    assert!(reply.file.len() <= FILE_BYTES);
    assert_eq!(Packet::decode(&reply.encode()).as_ref(), Ok(reply));
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    assert!(destination(request, reply, port, from).is_some() == (port == Port::Server));
}

fn seeds() -> Vec<Vec<u8>> {
    let packet = |kind: u8, class: &str, architecture: u16, more: &[(u8, &[u8])]| {
        let mut packet = Packet {
            operation: Operation::Request,
            hops: 0,
            transaction: 7,
            seconds: 4,
            flags: 0x8000,
            client_address: Ipv4Addr::UNSPECIFIED,
            your_address: Ipv4Addr::UNSPECIFIED,
            next_server: Ipv4Addr::UNSPECIFIED,
            relay: Ipv4Addr::UNSPECIFIED,
            mac: netboot::machine::Mac([0x52, 0x54, 0, 1, 2, 3]),
            file: "a".to_owned(),
            options: [(option::MESSAGE_TYPE, vec![kind]), (option::CLASS, class.into())].into(),
        };
        packet.options.insert(option::ARCHITECTURE, architecture.to_be_bytes().into());
        packet.options.extend(more.iter().map(|(number, value)| (*number, value.to_vec())));
        packet.encode()
    };
    let uuid: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    vec![
        packet(1, "PXEClient:Arch:00000:UNDI:002001", 0, &[(option::UUID, uuid)]),
        packet(1, "PXEClient:Arch:00007:UNDI:003016", 7, &[(option::USER_CLASS, b"iPXE")]),
        packet(1, "HTTPClient:Arch:00016:UNDI:003001", 16, &[(option::USER_CLASS, b"\x04iPXE")]),
        packet(3, "PXEClient:Arch:00009", 9, &[(option::REQUESTED_ADDRESS, &[10, 9, 0, 51])]),
        packet(8, "PXEClient", 0, &[(option::SERVER, &[10, 9, 0, 1])]),
        packet(4, "", 0, &[]),
        packet(7, "", 11, &[]),
    ]
}
