//! Peer protocol messages from another member or an unauthenticated client.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use etcd_raft::fuzz;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::timeout;

use crate::input::Input;
use crate::target::Target;

pub const TARGET: Target = Target {
    name: "peer",
    about: "a member reads its peers' words as themselves or refuses them, and lets go of the connection",
    run,
    seeds,
};

const PATIENCE: Duration = Duration::from_secs(60);
const RAW: u8 = 0;
const FRAMED: u8 = 1;
const ANSWER: u8 = 2;

/// Byte 0: raw bytes to the accepting side; contents in frames with valid checksums; a response to the connecting
/// side; otherwise the contents of one message of that kind.
fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() {
        RAW => serve(input.rest()),
        FRAMED => serve(&framed(input)),
        ANSWER => on_a_clock(async { fuzz::call(Stream::of(input.rest()).await).await }),
        kind => fuzz::message(kind, input.rest()),
    }
}

struct Stream;

impl Stream {
    /// A stream that sends these bytes and then ends.
    async fn of(bytes: &[u8]) -> tokio::io::DuplexStream {
        let (mut far, near) = duplex(bytes.len() + (1 << 20));
        far.write_all(bytes).await.expect("there is room");
        far.shutdown().await.expect("a pipe can be closed");
        // Writes to it are not read; the other end is kept open, so that they do not fail.
        tokio::spawn(async move {
            let mut written = Vec::new();
            far.read_to_end(&mut written).await.expect("a pipe can be read");
        });
        near
    }
}

fn on_a_clock(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let ended = runtime.expect("a runtime").block_on(async { timeout(PATIENCE, work).await });
    ended.expect("it ends");
}

fn serve(bytes: &[u8]) {
    on_a_clock(async { fuzz::serve(Stream::of(bytes).await).await });
}

/// A greeting, and the rest as messages: kind, length, contents.
fn framed(mut input: Input<'_>) -> BytesMut {
    let mut out = BytesMut::from(&fuzz::hello()[..]);
    for number in 0.. {
        if input.is_empty() {
            break;
        }
        let (kind, length) = (input.byte(), input.short());
        fuzz::frame(&mut out, kind, number, input.bytes(length.into()));
    }
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut raw = BytesMut::from(&[RAW][..]);
    raw.put_slice(&fuzz::hello());
    let mut in_frames = vec![FRAMED];
    for (kind, contents) in fuzz::samples() {
        seeds.push([&[kind], &contents[..]].concat());
        fuzz::frame(&mut raw, kind, 1, &contents);
        in_frames.push(kind);
        in_frames.extend_from_slice(&(contents.len() as u16).to_le_bytes());
        in_frames.extend_from_slice(&contents);
    }
    seeds.push(raw.to_vec());
    seeds.push(in_frames);
    seeds.push([&[ANSWER][..], &fuzz::welcome()].concat());
    seeds
}
