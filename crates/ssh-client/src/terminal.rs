//! The terminal that standard input may be.

use std::io::{self, IsTerminal as _};

use nix::sys::termios::{self, SetArg, Termios};

/// Passes every key on, as long as it lives.
pub struct Raw(Termios);

impl Raw {
    /// `None` where standard input is no terminal.
    pub fn begin() -> io::Result<Option<Raw>> {
        let input = io::stdin();
        if !input.is_terminal() {
            return Ok(None);
        }
        let before = termios::tcgetattr(&input)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&input, SetArg::TCSADRAIN, &raw)?;
        Ok(Some(Raw(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0) {
            eprintln!("the terminal could not be set back, try `reset`: {error}\r");
        }
    }
}

/// Columns and rows; what a terminal always had where they can not be told.
pub fn size() -> (u32, u32) {
    match rustix::termios::tcgetwinsize(io::stdin()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (u32::from(size.ws_col), u32::from(size.ws_row)),
        _ => (80, 24),
    }
}
