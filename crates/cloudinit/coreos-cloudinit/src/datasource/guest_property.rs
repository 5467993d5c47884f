//! A client of VirtualBox's guest property service, over the ioctls of `/dev/vboxguest` (linux/vboxguest.h).
//!
//! Messages have native byte order. A message is a header, and the fields or parameters of its call; the kernel
//! overwrites it with the response.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use cloudinit::limits::MAX_RAW_BYTES;
use nix::libc;
use restrict::system_calls::{VIRTUALBOX_CALL, VIRTUALBOX_CONNECT};

const HEADER_BYTES: usize = 24;
const HEADER_VERSION: u32 = 0x1_0001;
/// Offset of the result in the header.
const RESULT: usize = 12;

/// A service that runs on the host already.
const LOCATION_EXISTING: u32 = 2;
const SERVICE: &[u8] = b"VBoxGuestPropSvc";
/// Header, type of the location, name of 128 bytes.
const CONNECT_BYTES: usize = HEADER_BYTES + 4 + 128;

/// Function of the service.
const GET_PROPERTY: u32 = 1;
/// Milliseconds until a call is cancelled.
const CALL_TIMEOUT: u32 = 10_000;
/// Header; client, function, timeout, flags and number of parameters.
const CALL_HEADER_BYTES: usize = HEADER_BYTES + 16;
const PARAMETER_BYTES: usize = 16;
const PARAMETERS: usize = 4;
const CALL_BYTES: usize = CALL_HEADER_BYTES + PARAMETERS * PARAMETER_BYTES;
/// Types of parameters.
const NUMBER_32: u32 = 1;
const NUMBER_64: u32 = 2;
const BUFFER: u32 = 4;

/// Results.
const BUFFER_OVERFLOW: i32 = -41;
const NOT_FOUND: i32 = -78;

/// Bytes of the first buffer for a value with its flags. The host reports how many it needs.
const FIRST_BUFFER: usize = 4096;

/// The device.
pub(super) trait Ioctl {
    /// Sends a message, and receives the response into it.
    ///
    /// # Errors
    /// The kernel refuses the message. The host's refusal is part of the response.
    fn call(&mut self, request: u32, message: &mut [u8]) -> io::Result<()>;
}

impl Ioctl for File {
    #[allow(unsafe_code, reason = "an ioctl on a message with pointers")]
    fn call(&mut self, request: u32, message: &mut [u8]) -> io::Result<()> {
        // SAFETY: the kernel reads and writes as many bytes as the request and the message's header state, which is the
        // message's length. Buffers that a message names live until the call returns: see `Client::call`.
        let result =
            unsafe { libc::ioctl(self.as_raw_fd(), libc::Ioctl::from(request), message.as_mut_ptr()) };
        nix::errno::Errno::result(result)?;
        Ok(())
    }
}

/// A connection to the service. The kernel closes it with the device.
pub(super) struct Client<D> {
    device: D,
    number: u32,
}

impl<D: Ioctl> Client<D> {
    /// # Errors
    /// The device is none of VirtualBox, or the host has no such service.
    pub fn connect(mut device: D) -> io::Result<Self> {
        let mut message = header(CONNECT_BYTES, HEADER_BYTES + 4);
        put(&mut message, HEADER_BYTES, &LOCATION_EXISTING.to_ne_bytes());
        put(&mut message, HEADER_BYTES + 4, SERVICE);
        device.call(VIRTUALBOX_CONNECT, &mut message)?;
        match number(&message, RESULT).cast_signed() {
            0.. => Ok(Self { device, number: number(&message, HEADER_BYTES) }),
            result => Err(refused("has no guest properties", result)),
        }
    }

    /// The value of a property; `None` if it is not set.
    ///
    /// # Errors
    /// The host refuses, or the value is too large.
    pub fn get(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; FIRST_BUFFER];
        loop {
            let (result, needed) = self.call(name, &mut buffer)?;
            match result {
                0.. => {
                    // Its flags follow.
                    let end = buffer.iter().position(|byte| *byte == 0);
                    buffer.truncate(end.unwrap_or(buffer.len()));
                    return Ok(Some(buffer));
                }
                NOT_FOUND => return Ok(None),
                BUFFER_OVERFLOW if needed > buffer.len() && needed <= MAX_RAW_BYTES => {
                    buffer.resize(needed, 0)
                }
                BUFFER_OVERFLOW => {
                    let message = format!("{name} has {needed} bytes, more than {MAX_RAW_BYTES}");
                    return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
                }
                result => return Err(refused(&format!("does not return {name}"), result)),
            }
        }
    }

    /// Result and, if it is [`BUFFER_OVERFLOW`], the needed bytes.
    fn call(&mut self, name: &str, buffer: &mut [u8]) -> io::Result<(i32, usize)> {
        let name = [name.as_bytes(), &[0]].concat();
        let mut message = header(CALL_BYTES, CALL_BYTES);
        for (at, value) in [self.number, GET_PROPERTY, CALL_TIMEOUT].into_iter().enumerate() {
            put(&mut message, HEADER_BYTES + 4 * at, &value.to_ne_bytes());
        }
        put(
            &mut message,
            CALL_HEADER_BYTES - 2,
            &u16::try_from(PARAMETERS).unwrap_or_default().to_ne_bytes(),
        );
        put_buffer(&mut message, 0, name.as_ptr(), name.len());
        put_buffer(&mut message, 1, buffer.as_mut_ptr(), buffer.len());
        // Time of the last change, and the needed bytes.
        put(&mut message, parameter(2), &NUMBER_64.to_ne_bytes());
        put(&mut message, parameter(3), &NUMBER_32.to_ne_bytes());
        self.device.call(VIRTUALBOX_CALL, &mut message)?;
        let needed = number(&message, parameter(3) + 4);
        Ok((number(&message, RESULT).cast_signed(), usize::try_from(needed).unwrap_or(usize::MAX)))
    }
}

fn refused(what: &str, result: i32) -> io::Error {
    io::Error::other(format!("VirtualBox {what}: status {result}"))
}

/// A message with `sent` bytes, of which the response overwrites `received`.
fn header(sent: usize, received: usize) -> Vec<u8> {
    let mut message = vec![0; sent];
    for (at, value) in [sent, HEADER_VERSION as usize, 0, 0, received].into_iter().enumerate() {
        put(&mut message, 4 * at, &u32::try_from(value).unwrap_or_default().to_ne_bytes());
    }
    message
}

/// Offset of a parameter.
const fn parameter(index: usize) -> usize {
    CALL_HEADER_BYTES + index * PARAMETER_BYTES
}

fn put_buffer(message: &mut [u8], index: usize, at: *const u8, bytes: usize) {
    let start = parameter(index);
    put(message, start, &BUFFER.to_ne_bytes());
    put(message, start + 4, &u32::try_from(bytes).unwrap_or_default().to_ne_bytes());
    // The kernel uses the address: what it writes must count.
    put(message, start + 8, &(at.expose_provenance() as u64).to_ne_bytes());
}

fn put(message: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(target) = message.get_mut(at..at + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

fn number(message: &[u8], at: usize) -> u32 {
    let bytes = message.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_ne_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
#[path = "guest_property_tests.rs"]
mod tests;
