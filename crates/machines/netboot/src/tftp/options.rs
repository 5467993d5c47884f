//! Negotiation of options: block size (RFC 2348), size and timeout (RFC 2349), window (RFC 7440).

use std::time::Duration;

use crate::limits::{TFTP_BLOCK, TFTP_TIMEOUT, TFTP_WINDOW};

/// Block size without an option.
const DEFAULT_BLOCK: u16 = 512;

/// How a file is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of all blocks but the last.
    pub block: u16,
    /// Blocks that are sent before an acknowledgement.
    pub window: u16,
    /// Time after which the server sends again.
    pub timeout: Duration,
}

/// The parameters for these options, and the options that the server accepts: `None` if the request has none that it
/// knows, and gets the first block as its answer. A value out of range is as an option that the server does not know.
#[must_use]
pub fn negotiate(options: &[(String, String)], size: u64) -> (Parameters, Option<Vec<(&'static str, u64)>>) {
    let mut parameters = Parameters { block: DEFAULT_BLOCK, window: 1, timeout: TFTP_TIMEOUT };
    let mut accepted: Vec<(&'static str, u64)> = Vec::new();
    for (name, value) in options {
        let Ok(number) = value.parse::<u64>() else { continue };
        let small = u16::try_from(number).unwrap_or(u16::MAX);
        let answer = match name.as_str() {
            // More would be fragmented, which some firmware cannot reassemble.
            "blksize" if (8..=65464).contains(&number) => {
                parameters.block = small.min(TFTP_BLOCK);
                ("blksize", parameters.block.into())
            }
            "windowsize" if (1..=65535).contains(&number) => {
                parameters.window = small.min(TFTP_WINDOW);
                ("windowsize", parameters.window.into())
            }
            // The standard allows 255 s, for which a client that is unreachable would keep its transfer.
            "timeout" if (1..=10).contains(&number) => {
                parameters.timeout = Duration::from_secs(number);
                ("timeout", number)
            }
            "tsize" => ("tsize", size),
            _ => continue,
        };
        if accepted.iter().all(|(known, _)| *known != answer.0) {
            accepted.push(answer);
        }
    }
    (parameters, (!accepted.is_empty()).then_some(accepted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let check = |options: &[(&str, &str)], block, window, seconds, accepted: &[(&str, u64)]| {
            let options: Vec<_> =
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let (parameters, answer) = negotiate(&options, 1234);
            let expect = Parameters { block, window, timeout: Duration::from_secs(seconds) };
            assert_eq!(parameters, expect, "{options:?}");
            assert_eq!(answer.unwrap_or_default(), accepted, "{options:?}");
        };
        check(&[], 512, 1, 1, &[]);
        check(&[("multicast", "")], 512, 1, 1, &[]);
        check(&[("tsize", "0")], 512, 1, 1, &[("tsize", 1234)]);
        check(&[("blksize", "1432"), ("tsize", "0")], 1432, 1, 1, &[("blksize", 1432), ("tsize", 1234)]);
        check(&[("blksize", "65464")], 1468, 1, 1, &[("blksize", 1468)]);
        check(&[("blksize", "8")], 8, 1, 1, &[("blksize", 8)]);
        check(&[("blksize", "7"), ("blksize", "65465"), ("blksize", "-1")], 512, 1, 1, &[]);
        check(&[("windowsize", "4")], 512, 4, 1, &[("windowsize", 4)]);
        check(&[("windowsize", "64"), ("timeout", "5")], 512, 16, 5, &[("windowsize", 16), ("timeout", 5)]);
        check(&[("windowsize", "0"), ("timeout", "11"), ("timeout", "0")], 512, 1, 1, &[]);
    }
}
