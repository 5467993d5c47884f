//! Requests of the loads.

use std::net::SocketAddr;
use std::time::Duration;

use super::closed_loop::{Load, Measured, run};
use crate::failure::Failure;
use crate::http;

const NO_LIMIT: Duration = Duration::from_secs(3600);

/// A PUT of a value of `bytes` bytes to `key`, which has no leading `/`.
pub fn put_value(key: &str, bytes: usize, out: &mut Vec<u8>) {
    let length = "value=".len() + bytes;
    let head = format!(
        "PUT /v2/keys/{key} HTTP/1.1\r\nHost: x\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\r\nvalue=",
        http::FORM
    );
    out.extend_from_slice(head.as_bytes());
    out.resize(out.len() + bytes, b'x');
}

/// Turns a measurement with errors into a failure.
pub fn require_success(measured: Measured) -> Result<Measured, Failure> {
    if measured.errors > 0 || measured.requests == 0 {
        return Err(Failure::differs(format!(
            "{} errors in {} requests",
            measured.errors, measured.requests
        )));
    }
    Ok(measured)
}

/// Sends the requests that `put` generates for the numbers below `count`.
pub fn fill(
    addresses: &[SocketAddr],
    clients: usize,
    count: u64,
    put: &dyn Fn(u64, &mut Vec<u8>),
) -> Result<(), Failure> {
    let requests = |_, number: u64, out: &mut Vec<u8>| put(number, out);
    let load = Load { addresses, tls: None, clients, requests: &requests, time: NO_LIMIT, count };
    require_success(run(&load)?).map(drop)
}
