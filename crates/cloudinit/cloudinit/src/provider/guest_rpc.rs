//! VMware's guest RPC: requests to the hypervisor, four bytes at a time in the registers of one instruction.
//!
//! The instruction is an argument ([`Port`]). What it returns is untrusted: replies are bounded, and so is the number of
//! instructions.

use super::error::truncate_for_message;
use crate::limits::{MAX_GUESTINFO_BYTES, MAX_RPC_ATTEMPTS};

const MAGIC: u32 = 0x564d_5868;
/// I/O port of the low-bandwidth backdoor. The high-bandwidth one is not needed for values of this size.
pub const PORT: u16 = 0x5658;
/// Commands, in the lower half of `ecx`.
const GET_VERSION: u32 = 10;
const MESSAGE: u32 = 30;
/// Protocol of a channel: requests of the guest.
const RPCI: u32 = 0x4943_5052;
/// Asks for cookies that authenticate the channel. Old hypervisors have none.
const COOKIES: u32 = 1 << 31;

/// Kinds of message calls, in the upper half of `ecx`; of what the hypervisor sends, in the upper half of `edx`.
const OPEN: u32 = 0;
const SEND_SIZE: u32 = 1;
const SEND_PAYLOAD: u32 = 2;
const RECEIVE_SIZE: u32 = 3;
const RECEIVE_PAYLOAD: u32 = 4;
const RECEIVE_STATUS: u32 = 5;
const CLOSE: u32 = 6;

/// Status bits, in the upper half of `ecx` after a call.
const SUCCESS: u32 = 1;
const HAS_REPLY: u32 = 2;
/// A snapshot or migration reset the channel.
const CHECKPOINT: u32 = 0x80;

const NO_VALUE: &[u8] = b"0 No value found";

/// The registers that a call sends and that the hypervisor returns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Registers {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
}

/// The instruction.
pub trait Port {
    /// Reads 32 bits from the I/O port in `dx`. Where no hypervisor answers, all registers but `eax` are unchanged.
    fn call(&mut self, registers: Registers) -> Registers;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    #[error(
        "no hypervisor answers at VMware's I/O port. If this is a machine of VMware, it may restrict the port \
         (monitor_control.restrict_backdoor), which the kernel denies with Secure Boot"
    )]
    NoHypervisor,
    #[error("the hypervisor does not {step}. Only VMware has guestinfo; emulations of its I/O port do not")]
    Refused { step: &'static str },
    #[error("the hypervisor's reply has {bytes} bytes, more than {MAX_GUESTINFO_BYTES}")]
    TooLarge { bytes: u32 },
    #[error("the hypervisor's reply is incomplete: {bytes} bytes without a status")]
    Truncated { bytes: usize },
    #[error("snapshots or migrations interrupted {MAX_RPC_ATTEMPTS} requests")]
    Interrupted,
    #[error("the hypervisor refuses the request: {0:?}")]
    Failed(String),
}

/// The value of `guestinfo.KEY`; `None` if it is not set.
///
/// # Errors
/// No hypervisor of VMware answers, it refuses, or the value is larger than [`MAX_GUESTINFO_BYTES`].
pub fn guestinfo(port: &mut impl Port, key: &str) -> Result<Option<Vec<u8>>, RpcError> {
    identify(port)?;
    let request = format!("info-get guestinfo.{key}");
    for _ in 0..MAX_RPC_ATTEMPTS {
        match exchange(port, request.as_bytes()) {
            Err(RpcError::Interrupted) => {}
            reply => return reply.and_then(|reply| value(&reply)),
        }
    }
    Err(RpcError::Interrupted)
}

/// Elsewhere a channel must not be opened: the registers would be those that were sent.
fn identify(port: &mut impl Port) -> Result<(), RpcError> {
    let request =
        Registers { eax: MAGIC, ebx: !MAGIC, ecx: GET_VERSION, edx: PORT.into(), ..Registers::default() };
    let Registers { eax: version, ebx: magic, .. } = port.call(request);
    if version == u32::MAX || magic != MAGIC {
        return Err(RpcError::NoHypervisor);
    }
    Ok(())
}

/// A reply is a digit, a blank, and the value or a message.
fn value(reply: &[u8]) -> Result<Option<Vec<u8>>, RpcError> {
    match reply.split_at_checked(2) {
        Some((b"1 ", value)) => Ok(Some(value.to_vec())),
        _ if reply == NO_VALUE => Ok(None),
        Some((b"0 ", message)) => {
            Err(RpcError::Failed(truncate_for_message(&String::from_utf8_lossy(message))))
        }
        _ => Err(RpcError::Truncated { bytes: reply.len() }),
    }
}

/// Sends a request on a channel of its own.
fn exchange(port: &mut impl Port, request: &[u8]) -> Result<Vec<u8>, RpcError> {
    let mut channel = Channel::open(port)?;
    let reply = channel.send(request).and_then(|()| channel.receive());
    // The hypervisor has few channels. It closes forgotten ones itself.
    channel.call(CLOSE, 0);
    reply
}

struct Channel<'a, P> {
    port: &'a mut P,
    number: u32,
    cookies: [u32; 2],
}

impl<'a, P: Port> Channel<'a, P> {
    fn open(port: &'a mut P) -> Result<Self, RpcError> {
        let mut channel = Self { port, number: 0, cookies: [0; 2] };
        for flag in [COOKIES, 0] {
            let answer = channel.call(OPEN, RPCI | flag);
            if status(&answer) & SUCCESS != 0 {
                channel.number = answer.edx >> 16;
                channel.cookies = [answer.esi, answer.edi];
                return Ok(channel);
            }
        }
        Err(RpcError::Refused { step: "open a channel" })
    }

    fn call(&mut self, kind: u32, value: u32) -> Registers {
        let [esi, edi] = self.cookies;
        let (ecx, edx) = (kind << 16 | MESSAGE, self.number << 16 | u32::from(PORT));
        self.port.call(Registers { eax: MAGIC, ebx: value, ecx, edx, esi, edi })
    }

    fn step(&mut self, kind: u32, value: u32, step: &'static str) -> Result<Registers, RpcError> {
        let answer = self.call(kind, value);
        match status(&answer) {
            status if status & SUCCESS != 0 => Ok(answer),
            status if status & CHECKPOINT != 0 => Err(RpcError::Interrupted),
            _ => Err(RpcError::Refused { step }),
        }
    }

    fn send(&mut self, request: &[u8]) -> Result<(), RpcError> {
        let size = u32::try_from(request.len()).unwrap_or(u32::MAX);
        self.step(SEND_SIZE, size, "accept a request")?;
        for part in request.chunks(size_of::<u32>()) {
            let mut bytes = [0; size_of::<u32>()];
            bytes[..part.len()].copy_from_slice(part);
            self.step(SEND_PAYLOAD, u32::from_le_bytes(bytes), "accept a request")?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Vec<u8>, RpcError> {
        let answer = self.step(RECEIVE_SIZE, 0, "reply")?;
        if status(&answer) & HAS_REPLY == 0 || answer.edx >> 16 != SEND_SIZE {
            return Err(RpcError::Refused { step: "reply" });
        }
        let bytes = answer.ebx;
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        if size > MAX_GUESTINFO_BYTES {
            return Err(RpcError::TooLarge { bytes });
        }
        let mut reply = Vec::with_capacity(size);
        while reply.len() < size {
            let answer = self.step(RECEIVE_PAYLOAD, SUCCESS, "send its whole reply")?;
            if answer.edx >> 16 != SEND_PAYLOAD {
                return Err(RpcError::Truncated { bytes: reply.len() });
            }
            let part = answer.ebx.to_le_bytes();
            reply.extend(part.iter().take(size - reply.len()));
        }
        self.step(RECEIVE_STATUS, SUCCESS, "finish its reply")?;
        Ok(reply)
    }
}

/// The hypervisor's status bits.
fn status(answer: &Registers) -> u32 {
    answer.ecx >> 16
}

#[cfg(test)]
#[path = "guest_rpc_model.rs"]
mod model;
#[cfg(test)]
#[path = "guest_rpc_tests.rs"]
mod tests;
