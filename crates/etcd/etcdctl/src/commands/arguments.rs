//! Arguments, flags and errors shared by the key commands.

use std::io::Read as _;
use std::time::Duration;

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::Error;

use crate::failure::{Exit, Failure};

pub const TTL: Flag =
    Flag::new("ttl", ValueKind::Number, "time to live in seconds; 0 means no expiration").default("0");

/// Upper limit of a value read from standard input, in bytes; servers reject larger requests.
const MAX_VALUE_BYTES: u64 = 10 * 1024 * 1024;

pub fn key(args: &ParsedArgs) -> Result<&str, Failure> {
    match args.argument(0) {
        Some(key) => Ok(key),
        None => Err(Failure::error(Exit::BadArguments, "key required")),
    }
}

/// The second argument, or standard input up to its end, which must not be empty.
pub fn value(args: &ParsedArgs) -> Result<Vec<u8>, Failure> {
    if let Some(value) = args.argument(1) {
        return Ok(value.as_bytes().to_vec());
    }
    let mut value = Vec::new();
    let read = std::io::stdin().take(MAX_VALUE_BYTES + 1).read_to_end(&mut value);
    match read {
        Ok(0) => Err(Failure::error(Exit::BadArguments, "value required")),
        Ok(length) if length as u64 > MAX_VALUE_BYTES => Err(Failure::error(
            Exit::BadArguments,
            &format!("the value on standard input is longer than {MAX_VALUE_BYTES} bytes"),
        )),
        Ok(_) => Ok(value),
        Err(error) => Err(Failure::error(
            Exit::BadArguments,
            &format!("reading the value from standard input: {error}"),
        )),
    }
}

pub fn ttl(args: &ParsedArgs) -> Option<Duration> {
    args.number(TTL.name()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

pub fn request_failed(error: Error) -> Failure {
    Failure::of(Exit::Server, &error)
}
