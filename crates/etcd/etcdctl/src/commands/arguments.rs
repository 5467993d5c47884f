//! What the key commands have in common: their arguments and how their errors are told.

use std::io::Read as _;
use std::time::Duration;

use command_line::{Flag, ParsedArgs, ValueKind};
use etcd_client::Error;

use crate::failure::{Exit, Failure};

pub const TTL: Flag = Flag::new("ttl", ValueKind::Number, "seconds to live; 0 is forever").default("0");

/// A value from standard input is at most so long: servers refuse larger requests.
const VALUE_BYTES: u64 = 10 * 1024 * 1024;

pub fn key(given: &ParsedArgs) -> Result<&str, Failure> {
    match given.argument(0) {
        Some(key) => Ok(key),
        None => Err(Failure::error(Exit::BadArguments, "key required")),
    }
}

/// The second argument, else all of standard input, which must not be empty then.
pub fn value(given: &ParsedArgs) -> Result<Vec<u8>, Failure> {
    if let Some(value) = given.argument(1) {
        return Ok(value.as_bytes().to_vec());
    }
    let mut value = Vec::new();
    let read = std::io::stdin().take(VALUE_BYTES + 1).read_to_end(&mut value);
    match read {
        Ok(0) => Err(Failure::error(Exit::BadArguments, "value required")),
        Ok(length) if length as u64 > VALUE_BYTES => Err(Failure::error(
            Exit::BadArguments,
            &format!("the value on standard input is longer than {VALUE_BYTES} bytes"),
        )),
        Ok(_) => Ok(value),
        Err(error) => Err(Failure::error(
            Exit::BadArguments,
            &format!("reading the value from standard input: {error}"),
        )),
    }
}

pub fn ttl(given: &ParsedArgs) -> Option<Duration> {
    given.number(TTL.name()).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

pub fn refused(error: Error) -> Failure {
    Failure::of(Exit::Server, &error)
}
