//! The resets of QEMU machines, as QEMU itself reports them: from a reset on, what a machine had said of being ready
//! is not true any more.
//!
//! QEMU connects to `NAME.events` in the LAN's folder and speaks QMP there; the process that is the LAN's switch
//! listens, since it is there for as long as any machine runs. It changes no machine.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{limits, ready};

/// Opens the monitor for commands; events are sent from then on.
const OPEN: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n";
const RESET: &str = "RESET";

/// Where a machine reports, in the LAN's folder.
#[must_use]
pub fn socket(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.events"))
}

/// Notes the resets of one machine in its readiness file, forever.
pub fn follow(listener: &UnixListener, ready: &Path) {
    while let Ok((stream, _)) = listener.accept() {
        let ready = ready.to_path_buf();
        std::thread::spawn(move || {
            if let Err(error) = hear(&stream, &ready) {
                eprintln!("events for {}: {error}", ready.display());
            }
        });
    }
}

fn hear(stream: &UnixStream, ready: &Path) -> io::Result<()> {
    { stream }.write_all(OPEN)?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        let limit = u64::try_from(limits::EVENT_LINE_MAX).unwrap_or(u64::MAX);
        if io::Read::take(&mut reader, limit).read_line(&mut line)? == 0 {
            return Ok(());
        }
        let event: Value = serde_json::from_str(&line)?;
        if event.get("event").and_then(Value::as_str) == Some(RESET) {
            ready::withdraw(ready)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_machine_that_was_reset_is_not_ready_until_it_says_so_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, file) = (socket(folder.path(), "core-01"), folder.path().join("ready.json"));
        let listener = UnixListener::bind(&path).unwrap();
        let follower = file.clone();
        std::thread::spawn(move || follow(&listener, &follower));
        let mut qemu = UnixStream::connect(&path).unwrap();
        qemu.write_all(b"{\"QMP\":{}}\n{\"return\":{}}\n").unwrap();
        std::fs::write(&file, "{\"state\":\"ready\"}\n").unwrap();
        let until = |expect: bool| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while ready::last(&file).is_some() != expect {
                assert!(Instant::now() < deadline, "ready: {}", !expect);
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        qemu.write_all(b"{\"event\":\"RTC_CHANGE\"}\n{\"event\":\"RESET\",\"data\":{\"guest\":true}}\n")
            .unwrap();
        until(false);
        let mut again = std::fs::File::options().append(true).open(&file).unwrap();
        again.write_all(b"{\"state\":\"ready\"}\n").unwrap();
        until(true);
    }
}
