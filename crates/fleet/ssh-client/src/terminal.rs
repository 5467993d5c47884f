//! Terminal modes of standard input.

use std::io;

use nix::sys::termios::{self, SetArg, Termios};

/// Raw mode until drop.
pub struct RawMode(Termios);

impl RawMode {
    pub fn enable() -> io::Result<RawMode> {
        let input = io::stdin();
        let previous = termios::tcgetattr(&input)?;
        let mut raw = previous.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
        Ok(RawMode(previous))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0) {
            eprintln!("the terminal could not be set back, try `reset`: {error}\r");
        }
    }
}
