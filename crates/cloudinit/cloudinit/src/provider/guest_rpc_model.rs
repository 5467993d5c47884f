//! A model of VMware's hypervisor at its I/O port, for tests: channels with cookies, and requests for guestinfo. It
//! shares nothing with the client. Shared with the tests of `coreos-cloudinit`.

use std::collections::BTreeMap;

/// `eax`, `ebx`, `ecx`, `edx`, `esi`, `edi`.
pub type Call = [u32; 6];

/// What a hypervisor other than a current VMware does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// The port does not exist: all ones, as hardware has it.
    NoPort,
    /// Emulates the port without messages, as QEMU does.
    NoMessages,
    /// Has no cookies, as VMware Workstation 4.
    NoCookies,
    /// Stops within a reply.
    StopsAfter(usize),
    /// Announces a reply of this size.
    Announces(u32),
    /// Replies with these bytes.
    Replies(&'static [u8]),
    /// Sends payload of another kind.
    WrongPayload,
    /// The first calls with payload are lost to checkpoints.
    Checkpoints(usize),
}

/// The hypervisor, with at most one channel.
#[derive(Debug, Default)]
pub struct Hypervisor {
    pub guestinfo: BTreeMap<String, Vec<u8>>,
    pub fault: Fault,
    /// Requests, in their order.
    pub requests: Vec<String>,
    /// Channels that are open.
    pub open: usize,
    /// All calls.
    pub calls: usize,
    has_cookies: bool,
    announced: usize,
    request: Vec<u8>,
    reply: Vec<u8>,
    sent: usize,
}

const CHANNEL: u32 = 7;
const COOKIES: [u32; 2] = [0x1234_5678, 0x9abc_def0];
const SUCCESS: u32 = 0x1_0000;

impl Hypervisor {
    pub fn new(guestinfo: &[(&str, &str)]) -> Self {
        let guestinfo =
            guestinfo.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        Self { guestinfo, ..Self::default() }
    }

    pub fn with_fault(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    pub fn call(&mut self, call: Call) -> Call {
        self.calls += 1;
        let [eax, ebx, ecx, edx, esi, edi] = call;
        if self.fault == Fault::NoPort || eax != 0x564d_5868 || edx & 0xffff != 0x5658 {
            return [u32::MAX, ebx, ecx, edx, esi, edi];
        }
        match (ecx & 0xffff, ecx >> 16) {
            (10, 0) => [6, 0x564d_5868, 2, edx, esi, edi],
            (30, _) if self.fault == Fault::NoMessages => [u32::MAX, ebx, ecx, edx, esi, edi],
            (30, 0) => self.open(call),
            (30, kind) if self.open == 1 && edx >> 16 == CHANNEL && self.authentic(esi, edi) => {
                let (status, ebx, kind) = self.message(kind, ebx);
                [eax, ebx, status | 30, kind << 16 | 0x5658, esi, edi]
            }
            _ => [u32::MAX, ebx, 30, edx, esi, edi],
        }
    }

    fn authentic(&self, esi: u32, edi: u32) -> bool {
        !self.has_cookies || [esi, edi] == COOKIES
    }

    fn open(&mut self, [eax, ebx, _, edx, esi, edi]: Call) -> Call {
        let wants_cookies = ebx == 0xc943_5052;
        let known = wants_cookies || ebx == 0x4943_5052;
        if !known || wants_cookies && self.fault == Fault::NoCookies || self.open == 1 {
            return [eax, ebx, 30, edx, esi, edi];
        }
        self.open = 1;
        self.has_cookies = wants_cookies;
        let [esi, edi] = if wants_cookies { COOKIES } else { [esi, edi] };
        [eax, ebx, SUCCESS | 30, CHANNEL << 16 | 0x5658, esi, edi]
    }

    /// Returns status, `ebx` and the kind of what is sent.
    fn message(&mut self, kind: u32, ebx: u32) -> (u32, u32, u32) {
        const REFUSED: (u32, u32, u32) = (0, 0, 0);
        match kind {
            1 => {
                (self.announced, self.request) = (ebx as usize, Vec::new());
                // Offers the port with high bandwidth.
                (0x11_0000 | 0x80_0000, 0, 0)
            }
            2 => match &mut self.fault {
                Fault::Checkpoints(left @ 1..) => {
                    *left -= 1;
                    (0x80_0000, 0, 0)
                }
                _ => self.accept(ebx).unwrap_or(REFUSED),
            },
            3 => match self.fault {
                Fault::Announces(bytes) => (SUCCESS | 0x2_0000, bytes, 1),
                _ => (SUCCESS | 0x2_0000, self.reply.len() as u32, 1),
            },
            4 if matches!(self.fault, Fault::StopsAfter(bytes) if self.sent >= bytes) => REFUSED,
            4 if ebx == 1 && self.sent < self.reply.len() => {
                let part = self.reply[self.sent..].iter().take(4).rev();
                // What follows the last byte is undefined.
                let missing = 4 - part.len() as u32;
                let value = part.fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
                let garbage = if missing == 0 { 0 } else { u32::MAX << (8 * (4 - missing)) };
                self.sent += 4;
                (SUCCESS, value | garbage, if self.fault == Fault::WrongPayload { 1 } else { 2 })
            }
            5 if ebx == 1 => (SUCCESS, 0, 0),
            6 => {
                self.open = 0;
                (SUCCESS, 0, 0)
            }
            _ => REFUSED,
        }
    }

    fn accept(&mut self, part: u32) -> Option<(u32, u32, u32)> {
        let left = self.announced.checked_sub(self.request.len()).filter(|left| *left > 0)?;
        self.request.extend(part.to_le_bytes().iter().take(left));
        if self.request.len() == self.announced {
            let request = String::from_utf8(self.request.clone()).ok()?;
            let value = request.strip_prefix("info-get guestinfo.").map(|key| self.guestinfo.get(key));
            self.reply = match (self.fault, value) {
                (Fault::Replies(reply), _) => reply.to_vec(),
                (_, Some(Some(value))) => [b"1 ", &**value].concat(),
                (_, Some(None)) => b"0 No value found".to_vec(),
                (_, None) => b"0 Unknown command".to_vec(),
            };
            self.sent = 0;
            self.requests.push(request);
        }
        Some((SUCCESS, 0, 0))
    }
}
