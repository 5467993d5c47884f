//! Withdraws a QEMU machine's readiness when QEMU reports a reset.
//!
//! QEMU connects to `NAME.events` in the LAN's folder and speaks QMP. The LAN switch listens there, because it runs
//! while any machine runs. No commands are sent to the machine.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{limits, ready};

/// Completes the QMP handshake; QEMU sends events afterwards.
const OPEN: &[u8] = b"{\"execute\":\"qmp_capabilities\"}\n";
const RESET: &str = "RESET";

/// Event socket of a machine in the LAN's folder.
#[must_use]
pub fn socket(folder: &Path, node: &str) -> PathBuf {
    folder.join(format!("{node}.events"))
}

/// Processes the reset events of one machine; never returns while the listener is open.
pub fn follow(listener: &UnixListener, ready: &Path) {
    while let Ok((stream, _)) = listener.accept() {
        let ready = ready.to_path_buf();
        std::thread::spawn(move || {
            if let Err(error) = read_events(&stream, &ready) {
                eprintln!("events for {}: {error}", ready.display());
            }
        });
    }
}

fn read_events(stream: &UnixStream, ready: &Path) -> io::Result<()> {
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
    fn a_reset_withdraws_readiness() {
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
