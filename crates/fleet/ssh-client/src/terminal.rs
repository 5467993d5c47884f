//! The terminal that standard input is.

use std::io;

use nix::sys::termios::{self, SetArg, Termios};

/// Passes every key on, as long as it lives.
pub struct Raw(Termios);

impl Raw {
    pub fn begin() -> io::Result<Raw> {
        let input = io::stdin();
        let before = termios::tcgetattr(&input)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0) {
            eprintln!("the terminal could not be set back, try `reset`: {error}\r");
        }
    }
}
