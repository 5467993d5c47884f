use std::collections::BTreeMap;

use super::*;
use crate::dhcp::client;
use crate::machine::Mac;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const UUID: [u8; 17] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn server() -> Server {
    Server {
        address: OWN,
        url: "http://10.9.0.1:8042".to_owned(),
        bios_loader: Some("undionly.kpxe".to_owned()),
        efi_loader: Some("snponly.efi".to_owned()),
    }
}

fn network() -> Selection {
    with_uki("keelson-9999.1.0+a-alpha-pxe.efi", false)
}

fn with_uki(name: &str, prefers_uki: bool) -> Selection {
    Selection::Network { uki: Some(name.to_owned()), prefers_uki }
}

fn request(kind: MessageType, class: &str, architecture: Option<u16>) -> Packet {
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
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        file: String::new(),
        options: BTreeMap::from([(option::UUID, UUID.to_vec())]),
    };
    packet.set_type(kind);
    if !class.is_empty() {
        packet.options.insert(option::CLASS, class.into());
    }
    if let Some(number) = architecture {
        packet.options.insert(option::ARCHITECTURE, number.to_be_bytes().into());
    }
    packet
}

/// The rows of the table of architectures: option 93, then the file that is offered.
#[test]
fn each_architecture_gets_its_loader() {
    let check = |class: &str, architecture: Option<u16>, user_class: &[u8], expect: Result<&str, Ignored>| {
        let mut request = request(MessageType::Discover, class, architecture);
        if !user_class.is_empty() {
            request.options.insert(option::USER_CLASS, user_class.into());
        }
        let offer = proxy(&request, Port::Server, &server(), &network());
        let file = offer.as_ref().map(|offer| offer.file.as_str()).map_err(|error| *error);
        assert_eq!(file, expect, "{class} {architecture:?}");
    };
    let http_loader = "http://10.9.0.1:8042/files/snponly.efi";
    check("PXEClient:Arch:00000:UNDI:002001", Some(0), b"", Ok("undionly.kpxe"));
    check("PXEClient:Arch:00006:UNDI:003016", Some(6), b"", Ok("snponly.efi"));
    check("PXEClient:Arch:00007:UNDI:003016", Some(7), b"", Ok("snponly.efi"));
    check("PXEClient:Arch:00009:UNDI:003016", Some(9), b"", Ok("snponly.efi"));
    check("PXEClient:Arch:00011:UNDI:003016", Some(11), b"", Err(Ignored::Architecture(11)));
    check("HTTPClient:Arch:00016:UNDI:003001", Some(16), b"", Ok(http_loader));
    check("HTTPClient:Arch:00019:UNDI:003001", Some(19), b"", Err(Ignored::Architecture(19)));
    check("HTTPClient", Some(0), b"", Err(Ignored::Architecture(0)));
    check("PXEClient:Arch:00000:UNDI:002001", Some(0), b"iPXE", Ok("http://10.9.0.1:8042/boot.ipxe"));
    check("PXEClient:Arch:00007:UNDI:003016", Some(7), b"\x04iPXE", Ok("http://10.9.0.1:8042/boot.ipxe"));
    check("PXEClient:Arch:00000:UNDI:002001", Some(0), b"gPXE", Ok("undionly.kpxe"));
    // Without option 93 the class has the number.
    check("PXEClient:Arch:00007:UNDI:003016", None, b"", Ok("snponly.efi"));
    check("PXEClient", None, b"", Ok("undionly.kpxe"));
    check("", Some(0), b"iPXE", Err(Ignored::NotNetboot));
    check("MSFT 5.0", None, b"", Err(Ignored::NotNetboot));
    check("XPXEClient", Some(0), b"", Err(Ignored::NotNetboot));
}

#[test]
fn http_boot_starts_the_uki_without_a_loader_or_where_a_rule_prefers_it() {
    let uki = "http://10.9.0.1:8042/files/keelson-9999.1.0%2Ba-alpha-pxe.efi";
    let check = |server: &Server, selection: &Selection| {
        let request = request(MessageType::Discover, "HTTPClient:Arch:00016:UNDI:003001", Some(16));
        assert_eq!(proxy(&request, Port::Server, server, selection).unwrap().file, uki);
    };
    check(&Server { efi_loader: None, ..server() }, &network());
    check(&server(), &with_uki("keelson-9999.1.0+a-alpha-pxe.efi", true));
}

#[test]
fn a_proxy_answers_discovery_and_port_4011_only() {
    use MessageType::{Ack, Decline, Discover, Inform, Offer, Release, Request};
    let check = |port: Port, kind: MessageType, expect: Result<MessageType, Ignored>| {
        let answer = proxy(&request(kind, "PXEClient", Some(0)), port, &server(), &network());
        assert_eq!(answer.map(|answer| answer.message_type().unwrap()), expect, "{port:?} {kind:?}");
    };
    check(Port::Server, Discover, Ok(Offer));
    for kind in [Request, Decline, Release, Inform, Offer, Ack] {
        check(Port::Server, kind, Err(Ignored::Type));
    }
    check(Port::Boot, Request, Ok(Ack));
    check(Port::Boot, Inform, Ok(Ack));
    check(Port::Boot, Discover, Err(Ignored::Type));
    let mut other = request(Request, "PXEClient", Some(0));
    other.options.insert(option::SERVER, vec![10, 9, 0, 2]);
    assert_eq!(proxy(&other, Port::Boot, &server(), &network()), Err(Ignored::OtherServer));
    let mut reply = request(Discover, "PXEClient", Some(0));
    reply.operation = Operation::Reply;
    assert_eq!(proxy(&reply, Port::Server, &server(), &network()), Err(Ignored::Reply));
}

#[test]
fn an_offer_has_no_address_and_what_firmware_needs_to_accept_it() {
    let offer = |class: &str, architecture| {
        let request = request(MessageType::Discover, class, Some(architecture));
        proxy(&request, Port::Server, &server(), &network()).unwrap()
    };
    for (class, architecture, own_class, vendor) in [
        ("PXEClient:Arch:00000", 0, "PXEClient", Some(vec![6, 1, 8, 255])),
        ("PXEClient:Arch:00007", 7, "PXEClient", None),
        ("HTTPClient:Arch:00016", 16, "HTTPClient", None),
    ] {
        let offer = offer(class, architecture);
        assert_eq!(offer.your_address, Ipv4Addr::UNSPECIFIED);
        assert!(!offer.options.contains_key(&option::LEASE_TIME));
        assert_eq!((offer.next_server, offer.transaction, offer.flags), (OWN, 7, 0x8000));
        assert_eq!(offer.address(option::SERVER), Some(OWN));
        assert_eq!(offer.options[&option::CLASS], own_class.as_bytes());
        assert_eq!(offer.options[&option::UUID], UUID);
        assert_eq!(offer.options.get(&option::VENDOR), vendor.as_ref());
        let in_option = offer.options.get(&option::BOOT_FILE).map(Vec::as_slice);
        assert_eq!(in_option, (own_class == HTTP_CLASS).then_some(offer.file.as_bytes()));
    }
}

#[test]
fn what_is_missing_or_boots_from_disk_gets_no_answer() {
    let check = |server: &Server, selection: &Selection, class: &str, number: u16, expect: Ignored| {
        let request = request(MessageType::Discover, class, Some(number));
        assert_eq!(proxy(&request, Port::Server, server, selection), Err(expect));
    };
    let none = Server { bios_loader: None, efi_loader: None, ..server() };
    let no_uki = |prefers_uki| Selection::Network { uki: None, prefers_uki };
    check(&none, &network(), "PXEClient", 0, Ignored::NoBiosLoader);
    check(&none, &network(), "PXEClient", 7, Ignored::NoEfiLoader);
    check(&none, &no_uki(false), "HTTPClient", 16, Ignored::NoEfiLoader);
    check(&server(), &no_uki(true), "HTTPClient", 16, Ignored::NoUki);
    check(&server(), &with_uki(&"a".repeat(250), true), "HTTPClient", 16, Ignored::LongFile);
    check(&server(), &Selection::Disk, "PXEClient", 0, Ignored::Disk);
    check(&server(), &Selection::Disk, "HTTPClient", 16, Ignored::Disk);
    // Longer than the header's field: in the option only.
    let uki = with_uki(&"a".repeat(150), true);
    let request = request(MessageType::Discover, "HTTPClient", Some(16));
    let offer = proxy(&request, Port::Server, &server(), &uki).unwrap();
    assert_eq!(offer.file, "");
    assert!(offer.options[&option::BOOT_FILE].ends_with(&[b'a'; 150]));
}

fn lab() -> (Network, Leases) {
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    let network = Network { mask, router: Some(OWN), name_servers: vec![OWN, Ipv4Addr::new(10, 9, 0, 2)] };
    (network, Leases::new("10.9.0.100-10.9.0.101".parse().unwrap(), OWN))
}

#[test]
fn a_lab_network_leases_addresses_to_all_and_the_boot_file_to_those_that_netboot() {
    let (lab, mut leases) = lab();
    let mut ask = |request: &Packet| lease(request, &server(), &lab, &network(), &mut leases, 0);
    let address = Ipv4Addr::new(10, 9, 0, 100);
    let offer = ask(&request(MessageType::Discover, "PXEClient", Some(0))).unwrap();
    assert_eq!(offer.message_type(), Some(MessageType::Offer));
    assert_eq!((offer.your_address, offer.file.as_str()), (address, "undionly.kpxe"));
    assert_eq!(offer.options[&option::MASK], [255, 255, 255, 0]);
    assert_eq!(offer.options[&option::ROUTER], [10, 9, 0, 1]);
    assert_eq!(offer.options[&option::NAME_SERVER], [10, 9, 0, 1, 10, 9, 0, 2]);
    assert_eq!(offer.options[&option::LEASE_TIME], 3600_u32.to_be_bytes());
    let mut accept = request(MessageType::Request, "", None);
    accept.options.insert(option::REQUESTED_ADDRESS, address.octets().into());
    accept.options.insert(option::SERVER, OWN.octets().into());
    let ack = ask(&accept).unwrap();
    assert_eq!(ack.message_type(), Some(MessageType::Ack));
    assert_eq!((ack.your_address, ack.file.as_str(), ack.next_server), (address, "", Ipv4Addr::UNSPECIFIED));
    accept.options.insert(option::SERVER, vec![10, 9, 0, 7]);
    assert_eq!(ask(&accept), Err(Ignored::OtherServer));
    // A machine that renews has its address in the header.
    let mut renew = request(MessageType::Request, "", None);
    renew.client_address = address;
    assert_eq!(ask(&renew).unwrap().message_type(), Some(MessageType::Ack));
    renew.client_address = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(ask(&renew).unwrap().message_type(), Some(MessageType::Nak));
    let inform = ask(&request(MessageType::Inform, "", None)).unwrap();
    assert_eq!(inform.your_address, Ipv4Addr::UNSPECIFIED);
    assert!(!inform.options.contains_key(&option::LEASE_TIME));
    for (last, expect) in [(2, Ok(())), (3, Err(Ignored::NoAddress))] {
        let mut other = request(MessageType::Discover, "", None);
        other.mac = Mac([0x52, 0x54, 0, 0, 0, last]);
        assert_eq!(ask(&other).map(|_| ()), expect);
    }
}

#[test]
fn ipxe_waits_for_no_proxy_in_a_lab_network() {
    let (lab, mut leases) = lab();
    let mut ask = |user_class: &[u8]| {
        let mut request = request(MessageType::Discover, "PXEClient", Some(7));
        request.options.insert(option::USER_CLASS, user_class.into());
        let as_proxy = proxy(&request, Port::Server, &server(), &network()).unwrap();
        assert!(!as_proxy.options.contains_key(&option::IPXE), "the offer of another server is needed");
        lease(&request, &server(), &lab, &network(), &mut leases, 0).unwrap().options
    };
    assert_eq!(ask(b"iPXE").get(&option::IPXE).map(Vec::as_slice), Some(&[176, 1, 1][..]));
    assert!(!ask(b"firmware").contains_key(&option::IPXE));
}

#[test]
fn a_machine_of_a_lab_network_that_boots_from_disk_gets_its_address_and_no_boot_file() {
    let (lab, mut leases) = lab();
    let mut ask = |class: &str, architecture| {
        let request = request(MessageType::Discover, class, Some(architecture));
        lease(&request, &server(), &lab, &Selection::Disk, &mut leases, 0).unwrap()
    };
    let offer = ask("PXEClient", 7);
    assert_eq!((offer.your_address, offer.file.as_str()), (Ipv4Addr::new(10, 9, 0, 100), ""));
    assert!(!offer.options.contains_key(&option::CLASS));
    // One that does not exist: it is not looked for longer.
    let offer = ask("HTTPClient", 16);
    assert_eq!(offer.your_address, Ipv4Addr::new(10, 9, 0, 100));
    assert_eq!(offer.options[&option::BOOT_FILE], b"http://10.9.0.1:8042/boot-from-disk");
    assert_eq!(offer.options[&option::CLASS], b"HTTPClient");
}

#[test]
fn answers_reach_clients_without_an_address() {
    let check = |change: &dyn Fn(&mut Packet), port: Port, from: &str, expect: Option<&str>| {
        let mut request = request(MessageType::Discover, "PXEClient", Some(0));
        change(&mut request);
        let reply = reply_to(&request, MessageType::Offer, OWN);
        let to = destination(&request, &reply, port, from.parse().unwrap());
        assert_eq!(to, expect.map(|to| to.parse().unwrap()));
    };
    let nothing = |_: &mut Packet| {};
    check(&nothing, Port::Server, "0.0.0.0:68", Some("255.255.255.255:68"));
    check(&|one| one.client_address = [10, 9, 0, 5].into(), Port::Server, "10.9.0.5:68", Some("10.9.0.5:68"));
    check(&|one| one.relay = [10, 8, 0, 1].into(), Port::Server, "10.8.0.1:67", Some("10.8.0.1:67"));
    check(&nothing, Port::Boot, "10.9.0.5:4011", Some("10.9.0.5:4011"));
    check(&nothing, Port::Boot, "0.0.0.0:68", None);
}

#[test]
fn the_uuid_is_that_of_the_firmware() {
    let mut packet = request(MessageType::Discover, "PXEClient", Some(0));
    assert_eq!(client::uuid(&packet).unwrap().to_string(), "04030201-0605-0807-090a-0b0c0d0e0f10");
    for value in [vec![0; 17], [&[0][..], &[255; 16]].concat(), vec![1; 17], vec![0; 16], Vec::new()] {
        packet.options.insert(option::UUID, value);
        assert_eq!(client::uuid(&packet), None);
    }
}
