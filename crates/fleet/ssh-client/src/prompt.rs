//! Prompts.

use std::io::{self, Read as _, Write as _};

use crate::input::Unbuffered;

/// Prompts on standard error until standard input answers yes or no. The end of the input means no.
pub fn confirm(question: &str) -> io::Result<bool> {
    let mut question = question;
    loop {
        let mut stderr = io::stderr();
        stderr.write_all(question.as_bytes())?;
        stderr.flush()?;
        match read_line()?.as_deref().map(str::trim) {
            None | Some("no" | "n") => return Ok(false),
            Some("yes" | "y") => return Ok(true),
            Some(_) => question = "Please type 'yes' or 'no': ",
        }
    }
}

/// Reads single bytes: the rest of the input belongs to the command.
fn read_line() -> io::Result<Option<String>> {
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
