//! Questions to the user.

use std::io::{self, Read as _, Write as _};

use crate::input::Unbuffered;

/// Asks on standard error until standard input says yes or no; its end means no.
pub fn yes(question: &str) -> io::Result<bool> {
    let mut question = question;
    loop {
        let mut screen = io::stderr();
        screen.write_all(question.as_bytes())?;
        screen.flush()?;
        match line()?.as_deref().map(str::trim) {
            None | Some("no" | "n") => return Ok(false),
            Some("yes" | "y") => return Ok(true),
            Some(_) => question = "Please type 'yes' or 'no': ",
        }
    }
}

/// A byte at a time: what follows belongs to the command that is run then.
fn line() -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < 1024 {
        match Unbuffered(io::stdin()).read(&mut byte)? {
            0 if line.is_empty() => return Ok(None),
            0 => break,
            _ if byte[0] == b'\n' => break,
            _ => line.push(byte[0]),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}
