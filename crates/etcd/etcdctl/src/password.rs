//! Prompts for a password without echo.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;
use crate::stdout::print;

/// Prints `prompt` and reads one line from standard input.
pub fn prompt(prompt: &str) -> Result<String, Failure> {
    print(prompt)?;
    let echo_disabled = EchoDisabled::new();
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    drop(echo_disabled);
    // The newline that the user typed was not echoed.
    print("\n")?;
    read.map_err(|error| Failure::usage(format!("reading the password: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Disables the terminal's echo until dropped.
struct EchoDisabled {
    saved: Termios,
}

impl EchoDisabled {
    /// `None` if standard input is not a terminal.
    fn new() -> Option<EchoDisabled> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let saved = tcgetattr(input.as_fd()).ok()?;
        let mut settings = saved.clone();
        settings.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(input.as_fd(), SetArg::TCSAFLUSH, &settings).ok()?;
        Some(EchoDisabled { saved })
    }
}

impl Drop for EchoDisabled {
    fn drop(&mut self) {
        if tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.saved).is_err() {
            eprintln!("the terminal may stay silent: type `stty echo`");
        }
    }
}
