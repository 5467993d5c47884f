//! The state of one transfer: which blocks to send next.

use crate::limits::TFTP_ATTEMPTS;
use crate::tftp::options::Parameters;

/// Blocks are numbered from 1 here, without the wrap of their 16 bits on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    size: u64,
    block: u64,
    window: u64,
    /// The client has all blocks up to this one.
    acknowledged: u64,
    /// The last block that was sent.
    sent: u64,
    /// Times that the same blocks were sent.
    attempts: u32,
    /// A repeated acknowledgement was answered since the last progress or timeout.
    repeated: bool,
    /// The accepted options are acknowledged, or there are none.
    negotiated: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send the accepted options.
    Options,
    /// Send these blocks, the first and the last one.
    Blocks(u64, u64),
    /// Nothing: wait for the client.
    Wait,
    /// The client has the whole file.
    Done,
    /// The client does not respond.
    GiveUp,
}

impl Transfer {
    /// `has_options`: options are sent before the first block.
    #[must_use]
    pub fn new(size: u64, parameters: Parameters, has_options: bool) -> Self {
        Self {
            size,
            block: parameters.block.into(),
            window: parameters.window.into(),
            acknowledged: 0,
            sent: 0,
            attempts: 1,
            repeated: false,
            negotiated: !has_options,
        }
    }

    /// The first packet.
    pub fn start(&mut self) -> Step {
        if self.negotiated { self.next_window() } else { Step::Options }
    }

    /// The client acknowledged all blocks up to the one with this number on the wire.
    pub fn acknowledge(&mut self, number: u16) -> Step {
        if !self.negotiated {
            if number != 0 {
                return Step::Wait;
            }
            self.negotiated = true;
            self.attempts = 1;
            return self.next_window();
        }
        let ahead = number.wrapping_sub(wire_number(self.acknowledged));
        match u64::from(ahead) {
            // The first block of the window is lost. Without a window, answering each repeated acknowledgement would
            // send every block twice from then on (RFC 1123, 4.2.3.1).
            0 if self.window > 1 && !self.repeated && self.sent > self.acknowledged => {
                self.repeated = true;
                self.next_window()
            }
            0 => Step::Wait,
            ahead if ahead <= self.sent - self.acknowledged => {
                self.acknowledged += ahead;
                (self.attempts, self.repeated) = (1, false);
                if self.acknowledged == self.last() { Step::Done } else { self.next_window() }
            }
            // Of blocks that were not sent.
            _ => Step::Wait,
        }
    }

    /// The client sent nothing within the timeout.
    pub fn timeout(&mut self) -> Step {
        if self.attempts >= TFTP_ATTEMPTS {
            return Step::GiveUp;
        }
        self.attempts += 1;
        self.repeated = false;
        self.start()
    }

    /// Start and length in the file of a block. The last one is shorter than the others, and may be empty.
    #[must_use]
    pub fn position(&self, block: u64) -> (u64, u64) {
        let start = (block - 1) * self.block;
        (start, self.block.min(self.size.saturating_sub(start)))
    }

    /// Bytes that the client has.
    #[must_use]
    pub fn received(&self) -> u64 {
        (self.acknowledged * self.block).min(self.size)
    }

    fn last(&self) -> u64 {
        self.size / self.block + 1
    }

    fn next_window(&mut self) -> Step {
        self.sent = (self.acknowledged + self.window).min(self.last());
        Step::Blocks(self.acknowledged + 1, self.sent)
    }
}

/// The number of a block on the wire.
#[must_use]
pub fn wire_number(block: u64) -> u16 {
    u16::try_from(block % (1 << 16)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn transfer(size: u64, block: u16, window: u16, has_options: bool) -> Transfer {
        let parameters = Parameters { block, window, timeout: Duration::from_secs(1) };
        Transfer::new(size, parameters, has_options)
    }

    #[test]
    fn a_file_ends_with_a_block_that_is_not_full() {
        for (size, lengths) in [(0, vec![0]), (7, vec![7]), (8, vec![8, 0]), (17, vec![8, 8, 1])] {
            let mut transfer = transfer(size, 8, 1, false);
            let mut step = transfer.start();
            let mut found = Vec::new();
            while let Step::Blocks(first, last) = step {
                assert_eq!(first, last);
                found.push(transfer.position(first).1);
                step = transfer.acknowledge(wire_number(first));
            }
            assert_eq!((step, found), (Step::Done, lengths));
            assert_eq!(transfer.received(), size);
        }
    }

    #[test]
    fn options_precede_the_first_block() {
        let mut transfer = transfer(20, 8, 2, true);
        assert_eq!(transfer.start(), Step::Options);
        assert_eq!(transfer.acknowledge(1), Step::Wait);
        assert_eq!(transfer.timeout(), Step::Options);
        assert_eq!(transfer.acknowledge(0), Step::Blocks(1, 2));
    }

    #[test]
    fn windows_continue_after_the_last_block_in_order() {
        let mut transfer = transfer(80, 8, 4, false);
        assert_eq!(transfer.start(), Step::Blocks(1, 4));
        assert_eq!(transfer.acknowledge(2), Step::Blocks(3, 6));
        // Block 3 is lost: the client repeats what it has.
        assert_eq!(transfer.acknowledge(2), Step::Blocks(3, 6));
        assert_eq!(transfer.acknowledge(2), Step::Wait, "once per window");
        assert_eq!(transfer.acknowledge(7), Step::Wait, "not sent yet");
        assert_eq!(transfer.acknowledge(6), Step::Blocks(7, 10));
        assert_eq!(transfer.acknowledge(5), Step::Wait, "a late packet");
        assert_eq!(transfer.acknowledge(10), Step::Blocks(11, 11));
        assert_eq!(transfer.acknowledge(11), Step::Done);
    }

    #[test]
    fn a_repeated_acknowledgement_of_a_single_block_sends_nothing() {
        let mut transfer = transfer(20, 8, 1, false);
        assert_eq!(transfer.start(), Step::Blocks(1, 1));
        assert_eq!(transfer.acknowledge(1), Step::Blocks(2, 2));
        assert_eq!(transfer.acknowledge(1), Step::Wait);
    }

    #[test]
    fn a_client_that_does_not_respond_is_given_up() {
        let mut transfer = transfer(20, 8, 1, false);
        transfer.start();
        for _ in 1..TFTP_ATTEMPTS {
            assert_eq!(transfer.timeout(), Step::Blocks(1, 1));
        }
        assert_eq!(transfer.timeout(), Step::GiveUp);
    }

    /// More than 65535 blocks, over a network that loses packets in both directions.
    #[test]
    fn numbers_wrap_and_lost_packets_are_sent_again() {
        let mut random = 1_u32;
        let mut is_lost = move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 24 < 26
        };
        for window in [1, 4, 16] {
            let mut transfer = transfer(8 * 70_000 + 3, 8, window, false);
            let (mut step, mut has, mut rounds) = (transfer.start(), 0_u64, 0);
            while step != Step::Done {
                rounds += 1;
                assert!(rounds < 1_000_000, "no progress after block {has}");
                let Step::Blocks(first, last) = step else { panic!("{step:?} after block {has}") };
                for block in (first..=last).filter(|_| !is_lost()) {
                    // The client sees numbers of 16 bits only.
                    if wire_number(block) == wire_number(has + 1) {
                        has += 1;
                    }
                }
                assert!(has <= last);
                step = if is_lost() { transfer.timeout() } else { transfer.acknowledge(wire_number(has)) };
                while step == Step::Wait {
                    step = transfer.timeout();
                }
            }
            assert_eq!(has, 70_001);
        }
    }
}
