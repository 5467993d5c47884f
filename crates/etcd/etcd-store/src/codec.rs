//! Encoding of commands and records: variable-length integers, byte strings, lists, options.
//!
//! Decoding never panics and never allocates more than the input's size.

use bytes::Bytes;
use etcd_api::{Key, Member, Permissions, Role, Timestamp};

use crate::limits::MAX_LIST_ITEMS;

/// A decoding error, with its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadError {
    Truncated { at: usize },
    Malformed { field: &'static str, at: usize },
}

impl ReadError {
    pub fn what(self) -> &'static str {
        match self {
            Self::Truncated { .. } => "it ends early",
            Self::Malformed { field, .. } => field,
        }
    }
}

/// Appends to a buffer.
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// Seven bits per byte, least significant first; all but the last byte have the high bit set.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub fn disk(&mut self, disk: u128) {
        self.0.extend_from_slice(&disk.to_le_bytes());
    }

    pub fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.unix_nanos().to_le_bytes());
    }

    pub fn texts(&mut self, texts: &[String]) {
        self.number(texts.len() as u64);
        for text in texts {
            self.text(text);
        }
    }

    pub fn member(&mut self, member: &Member) {
        self.number(member.id);
        self.text(&member.name);
        self.texts(&member.peer_urls);
        self.texts(&member.client_urls);
    }

    pub fn role(&mut self, role: &Role) {
        self.text(&role.name);
        self.permissions(&role.permissions);
    }

    pub fn permissions(&mut self, permissions: &Permissions) {
        self.texts(&permissions.kv.read);
        self.texts(&permissions.kv.write);
    }
}

/// Reads from the front of a slice.
pub struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    pub fn rest(&self) -> &'a [u8] {
        &self.input[self.at..]
    }

    pub fn malformed(&self, field: &'static str) -> ReadError {
        ReadError::Malformed { field, at: self.at }
    }

    pub fn end(&self) -> Result<(), ReadError> {
        if self.rest().is_empty() { Ok(()) } else { Err(self.malformed("a longer end")) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let taken = self.rest().get(..count).ok_or(ReadError::Truncated { at: self.input.len() })?;
        self.at += count;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, ReadError> {
        Ok(self.take(1)?[0])
    }

    pub fn number(&mut self) -> Result<u64, ReadError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed("number"))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], ReadError> {
        let length = self.number()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub fn text(&mut self) -> Result<String, ReadError> {
        let at = self.at;
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes).map_err(|_| ReadError::Malformed { field: "text", at })?;
        Ok(text.to_owned())
    }

    pub fn flag(&mut self) -> Result<bool, ReadError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("flag")),
        }
    }

    pub fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    /// An item has at least one byte, so a list cannot be longer than its input.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let count = self.number()?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > self.rest().len().min(MAX_LIST_ITEMS) {
            return Err(self.malformed("list length"));
        }
        (0..count).map(|_| read(self)).collect()
    }

    pub fn disk(&mut self) -> Result<u128, ReadError> {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(self.take(16)?);
        Ok(u128::from_le_bytes(bytes))
    }

    pub fn time(&mut self) -> Result<Timestamp, ReadError> {
        let mut nanos = [0; 8];
        nanos.copy_from_slice(self.take(8)?);
        Ok(Timestamp::from_unix_nanos(u64::from_le_bytes(nanos)))
    }

    /// Copied, so that a small value does not keep a whole batch in memory.
    pub fn value(&mut self) -> Result<Bytes, ReadError> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub fn key(&mut self) -> Result<Key, ReadError> {
        let at = self.at;
        let path = self.value()?;
        Key::from_clean(path).ok_or(ReadError::Malformed { field: "key", at })
    }

    pub fn texts(&mut self) -> Result<Vec<String>, ReadError> {
        self.list(Self::text)
    }

    pub fn member(&mut self) -> Result<Member, ReadError> {
        Ok(Member {
            id: self.number()?,
            name: self.text()?,
            peer_urls: self.texts()?,
            client_urls: self.texts()?,
        })
    }

    pub fn role(&mut self) -> Result<Role, ReadError> {
        Ok(Role { name: self.text()?, permissions: self.permissions()? })
    }

    pub fn permissions(&mut self) -> Result<Permissions, ReadError> {
        let mut permissions = Permissions::default();
        permissions.kv.read = self.texts()?;
        permissions.kv.write = self.texts()?;
        Ok(permissions)
    }
}
