//! TFTP packets that reach the netboot server, and a transfer that they control.

use netboot::tftp::options::negotiate;
use netboot::tftp::packet::{FromClient, data};
use netboot::tftp::transfer::{Step, Transfer, wire_number};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "tftp",
    about: "a packet is refused or decoded within limits; whatever a client acknowledges, it gets blocks of the file in \
            windows of the negotiated size",
    run,
    seeds,
};

/// The size of the file, then a packet of the length that follows, then acknowledgements.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let size = u64::from(input.short()) * 16;
    let length = usize::from(input.short());
    let Ok(packet) = FromClient::decode(input.bytes(length)) else { return };
    let request = match packet {
        FromClient::Read(request) => request,
        FromClient::Error { message, .. } => {
            assert!(message.chars().count() <= 200 && !message.chars().any(char::is_control));
            return;
        }
        FromClient::Write | FromClient::Ack(_) => return,
    };
    assert!(request.options.len() <= 16);
    let (parameters, accepted) = negotiate(&request.options, size);
    assert!((8..=1468).contains(&parameters.block) && (1..=16).contains(&parameters.window));
    assert!((1..=10).contains(&parameters.timeout.as_secs()));
    let mut transfer = Transfer::new(size, parameters, accepted.is_some());
    let mut step = transfer.start();
    loop {
        match step {
            Step::Blocks(first, last) => {
                assert!(first <= last && last - first < u64::from(parameters.window));
                for block in first..=last {
                    let (start, length) = transfer.position(block);
                    assert!(start + length <= size && length <= u64::from(parameters.block));
                    assert_eq!(data(wire_number(block), &[]).len(), 4);
                }
            }
            Step::Options => assert!(accepted.is_some()),
            Step::Wait => {}
            Step::Done => {
                assert_eq!(transfer.received(), size);
                return;
            }
            Step::GiveUp => return,
        }
        if input.is_empty() {
            return;
        }
        step = if input.byte().is_multiple_of(8) {
            transfer.timeout()
        } else {
            transfer.acknowledge(input.short())
        };
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |size: u16, packet: &[u8], acks: &[u16]| {
        let length = u16::try_from(packet.len()).unwrap();
        let mut bytes = [size.to_le_bytes(), length.to_le_bytes()].concat();
        bytes.extend_from_slice(packet);
        bytes.extend(acks.iter().flat_map(|ack| [&[1][..], &ack.to_le_bytes()].concat()));
        bytes
    };
    let windows = b"\0\x01a.efi\0octet\0blksize\x00512\0windowsize\x004\0timeout\x002\0tsize\x000\0";
    vec![
        seed(100, b"\0\x01a.efi\0octet\0", &[1, 2, 3, 4]),
        seed(1000, windows, &[0, 4, 8, 7, 8, 12, 16, 20, 24, 28, 31, 32]),
        seed(0, b"\0\x01a.efi\0netascii\0", &[1]),
        seed(1, b"\0\x02a.efi\0octet\0", &[]),
        seed(1, b"\0\x05\0\x01refused\0", &[]),
        seed(1, b"\0\x04\0\x01", &[]),
    ]
}
