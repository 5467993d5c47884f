//! Limits of a stream of decompressed data, and its digest.

use std::cell::Cell;
use std::io::{self, Read};

use oci_image::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that may still be read, in total and until the next entry's content.
#[derive(Debug)]
pub struct Allowance {
    total: Cell<u64>,
    headers: Cell<Option<u64>>,
}

impl Allowance {
    pub fn new(total: u64) -> Self {
        Self { total: Cell::new(total), headers: Cell::new(None) }
    }

    /// Until [`Self::lift`], at most `bytes` may be read: the headers of one entry. tar's reader keeps long names and
    /// attributes in memory, whatever length they claim.
    pub fn limit_headers(&self, bytes: u64) {
        self.headers.set(Some(bytes));
    }

    pub fn lift(&self) {
        self.headers.set(None);
    }

    fn remaining(&self) -> u64 {
        self.total.get().min(self.headers.get().unwrap_or(u64::MAX))
    }

    fn spend(&self, bytes: u64) {
        self.total.set(self.total.get().saturating_sub(bytes));
        self.headers.set(self.headers.get().map(|left| left.saturating_sub(bytes)));
    }

    fn exceeded(&self) -> io::Error {
        io::Error::other(match self.headers.get() {
            Some(0) => "the headers of one entry exceed their limit",
            _ => "the unpacked data exceeds its limit",
        })
    }
}

/// Hashes what is read, within an allowance.
pub struct Meter<'a, R> {
    inner: R,
    hasher: Sha256,
    allowance: &'a Allowance,
}

impl<'a, R: Read> Meter<'a, R> {
    pub fn new(inner: R, allowance: &'a Allowance) -> Self {
        Self { inner, hasher: Sha256::new(), allowance }
    }

    /// Reads what follows the archive's end, and returns the digest of everything.
    pub fn finish(mut self) -> io::Result<Digest> {
        self.allowance.lift();
        io::copy(&mut self, &mut io::sink())?;
        Ok(Digest::from_hasher(self.hasher))
    }
}

impl<R: Read> Read for Meter<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let remaining = usize::try_from(self.allowance.remaining()).unwrap_or(usize::MAX);
        if remaining == 0 && !into.is_empty() {
            // Only the end may follow.
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(self.allowance.exceeded()),
            };
        }
        let limit = into.len().min(remaining);
        let into = into.get_mut(..limit).unwrap_or_default();
        let read = self.inner.read(into)?;
        self.hasher.update(into.get(..read).unwrap_or_default());
        self.allowance.spend(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_stops_at_the_limits() {
        let check = |total: u64, headers: Option<u64>, expected: Result<(), &str>| {
            let allowance = Allowance::new(total);
            if let Some(headers) = headers {
                allowance.limit_headers(headers);
            }
            let mut meter = Meter::new(&b"0123456789"[..], &allowance);
            let read = io::copy(&mut meter, &mut io::sink()).map(drop).map_err(|error| error.to_string());
            match expected {
                Ok(()) => assert_eq!((read, meter.finish().unwrap()), (Ok(()), Digest::of(b"0123456789"))),
                Err(text) => assert!(read.unwrap_err().contains(text)),
            }
        };
        check(10, None, Ok(()));
        check(11, Some(10), Ok(()));
        check(9, None, Err("the unpacked data"));
        check(0, None, Err("the unpacked data"));
        check(20, Some(9), Err("the headers"));
    }
}
