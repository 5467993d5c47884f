//! What a child without rights sends to the update agent, and the requests that it reads.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use update_worker::fuzz::{Parent, request};

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "worker",
    about: "a child that was taken over provides no byte too many, and text without control characters",
    run,
    seeds,
};

const DEADLINE: Duration = Duration::from_secs(60);
/// What a socket takes without a reader.
const MAX_STREAM: usize = 100_000;
const HELLO: u8 = 0;
const BODY: u8 = 1;
const RANGE: u8 = 2;
const UNPACKED: u8 = 3;

/// The message that the parent waits for, the length that it requested, and the child's bytes.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (kind, length) = (input.byte() % 5, usize::from(input.short()));
    let sent = input.rest();
    let sent = &sent[..sent.len().min(MAX_STREAM)];
    if kind > UNPACKED {
        if let Some(again) = request(sent) {
            assert!(sent.starts_with(&again), "another request");
        }
        return;
    }
    let (near, mut far) = UnixStream::pair().expect("a socket");
    far.write_all(sent).expect("a socket has room");
    drop(far);
    let mut parent = Parent::new(near, DEADLINE).expect("timeouts");
    let plain = |text: &str| assert!(!text.contains(char::is_control), "{text:?}");
    match kind {
        HELLO => plain(&parent.hello().unwrap_or_else(|error| error)),
        BODY => match parent.body(length as u64) {
            Ok(body) => assert!(body.len() <= length),
            Err(error) => plain(&error),
        },
        RANGE => match parent.range(length as u64) {
            Ok(body) => assert!(body.len() <= length),
            Err(error) => plain(&error),
        },
        _ => {
            let mut output = vec![0; length + 2];
            let (segment, behind) = output.split_at_mut(length);
            if let Err(error) = parent.unpacked(segment) {
                plain(&error);
            }
            assert!(behind == [0, 0]);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let message = |kind: u8, content: &[u8]| {
        [&[kind][..], &u32::try_from(content.len()).expect("short").to_le_bytes(), content].concat()
    };
    let end = message(3, b"");
    vec![
        [&[HELLO, 0, 0][..], &message(1, b"open files: no Landlock")].concat(),
        [&[BODY, 9, 0][..], &message(2, b"12345"), &message(2, b"6789"), &end].concat(),
        [&[BODY, 9, 0][..], &message(4, b"\xf4\x01<html>\x1b[2J")].concat(),
        [&[BODY, 9, 0][..], &message(5, b"\x01connection refused")].concat(),
        [&[RANGE, 9, 0][..], &message(2, b"123456789"), &end].concat(),
        [&[RANGE, 9, 0][..], &message(2, b"1234"), &message(5, b"\x01broken")].concat(),
        [&[UNPACKED, 4, 0][..], &message(2, b"1234")].concat(),
        [&[UNPACKED, 4, 0][..], &message(6, b"")].concat(),
        [&[4, 0, 0][..], &message(7, b"\x09\0\0\0\0\0\0\0http://a/b")].concat(),
        [&[4, 0, 0][..], &message(8, b"\x09\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0ab: cd")].concat(),
        [&[4, 0, 0][..], &message(9, b"\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0http://a/b")].concat(),
        [&[4, 0, 0][..], &message(10, &[1; 12])].concat(),
        [&[4, 0, 0][..], &message(11, &[9, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0])].concat(),
    ]
}
