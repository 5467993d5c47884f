//! Children that were taken over.

use folder_machine::Machine;
use update_engine::Kind;

use super::Wrapper;
use crate::server::Fault;
use crate::{check, installed, server_with};

/// What a child sends first: it is restricted.
const HELLO: &[u8] = &[1, 0, 0, 0, 0];
const DATA: u8 = 2;
/// Segments of the releases have this length.
const SEGMENT: usize = 16 << 20;

fn message(kind: u8, length: usize, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(length).unwrap().to_le_bytes(), content].concat()
}

/// A child that was taken over, with either role: what it sends, and what the agent reports.
// Long because each case is a line of data.
#[allow(clippy::too_many_lines)]
#[test]
fn children_that_lie_are_refused() {
    let (send, forever) = ("cat >/dev/null <&0 & cat data >&0; wait", "while cat data >&0; do :; done");
    let zeros = vec![0; SEGMENT];
    let with_hello = |messages: &[&[u8]]| [&[HELLO], messages].concat().concat();
    let text = b"\x01\x1b[2Jall\nis well";
    let text = message(5, text.len(), text);
    let machine = Machine::new();
    let server = server_with(Fault::None);
    for (role, instead, bytes, kind, expect) in [
        ("transfer", "cat /dev/zero >&0", vec![], Kind::Transient, "sent a message of an unknown kind"),
        ("transfer", "exit 3", vec![], Kind::Transient, "the download process ended: exit status 3"),
        ("transfer", "kill -SYS $$", vec![], Kind::Transient, "the download process ended: signal SIGSYS"),
        ("transfer", forever, HELLO.to_vec(), Kind::Transient, "sent an unexpected reply"),
        (
            "transfer",
            send,
            with_hello(&[&message(DATA, 1 << 30, &zeros)]),
            Kind::Transient,
            "sent an unexpected reply",
        ),
        (
            "transfer",
            send,
            with_hello(&[&message(DATA, 200_000, &zeros[..200_000]).repeat(7)]),
            Kind::Transient,
            "sent a longer body than requested",
        ),
        (
            "transfer",
            send,
            with_hello(&[&message(5, 1 << 20, &zeros)]),
            Kind::Transient,
            "sent a text that is too long",
        ),
        ("transfer", send, with_hello(&[&text]), Kind::Transient, ":  [2Jall is well"),
        (
            "transfer",
            send,
            with_hello(&[&message(DATA, 5, b"<html"), &message(3, 0, b"")]),
            Kind::Transient,
            "invalid response of the server",
        ),
        (
            "unpack",
            send,
            with_hello(&[&message(DATA, SEGMENT, &zeros)]),
            Kind::Rejected,
            "does not match its signed hash",
        ),
        (
            "unpack",
            send,
            with_hello(&[&message(DATA, SEGMENT - 1, &zeros)]),
            Kind::Transient,
            "sent another segment than requested",
        ),
        (
            "unpack",
            send,
            with_hello(&[&message(DATA, SEGMENT + 1, &zeros)]),
            Kind::Transient,
            "sent an unexpected reply",
        ),
        (
            "unpack",
            send,
            with_hello(&[&message(6, 0, b"")]),
            Kind::Rejected,
            "does not match its signed hash",
        ),
        ("unpack", "cat /dev/zero >&0", vec![], Kind::Transient, "sent a message of an unknown kind"),
    ] {
        let wrapper = Wrapper::new(role, instead, &bytes);
        let failure = wrapper.failure(&machine, &server);
        assert!(failure.message.contains(expect), "{expect}: {failure}");
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(!failure.message.contains(char::is_control), "{failure:?}");
        machine.assert_bootable();
        assert_eq!(machine.next_boot(), "keelson_2.0.0.efi", "{expect}");
    }
    assert!(installed(&check(&machine, &server)));
    machine.assert_bootable();
}
