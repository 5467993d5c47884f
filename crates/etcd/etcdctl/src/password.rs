//! Asks for a password, without showing what is typed.

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd as _;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;
use crate::stdout::say;

/// Shows `prompt` and reads one line of standard input.
pub fn ask(prompt: &str) -> Result<String, Failure> {
    say(prompt)?;
    let silence = Silence::begin();
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    drop(silence);
    // The end of the line that was typed was not shown.
    say("\n")?;
    read.map_err(|error| Failure::usage(format!("reading the password: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// While it lives, the terminal shows nothing that is typed.
struct Silence {
    before: Termios,
}

impl Silence {
    /// `None` when standard input is no terminal.
    fn begin() -> Option<Silence> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(input.as_fd()).ok()?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(input.as_fd(), SetArg::TCSAFLUSH, &silent).ok()?;
        Some(Silence { before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if tcsetattr(io::stdin().as_fd(), SetArg::TCSAFLUSH, &self.before).is_err() {
            eprintln!("the terminal may stay silent: type `stty echo`");
        }
    }
}
