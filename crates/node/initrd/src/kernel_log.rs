//! Writes to the kernel log, which journald reads.

use std::fs::OpenOptions;
use std::io::Write;

const KERNEL_LOG: &str = "/dev/kmsg";

pub fn info(message: &str) {
    write('6', message);
}

/// Also printed on the console, which shows levels below 4.
pub fn warning(message: &str) {
    write('3', message);
}

/// syslog(3) levels. A failure to log cannot be reported anywhere.
fn write(level: char, message: &str) {
    let Ok(mut log) = OpenOptions::new().write(true).open(KERNEL_LOG) else { return };
    for line in message.lines().filter(|line| !line.trim().is_empty()) {
        drop(log.write_all(format!("<{level}>keelson-initrd: {line}\n").as_bytes()));
    }
}
