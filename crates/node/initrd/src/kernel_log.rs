//! Messages in the kernel's log: journald takes them from there.

use std::fs::OpenOptions;
use std::io::Write;

const KERNEL_LOG: &str = "/dev/kmsg";

pub fn info(message: &str) {
    write('6', message);
}

/// Also on the console: the command line shows levels below 4, and a failed boot is looked at there.
pub fn warning(message: &str) {
    write('3', message);
}

/// Levels as in syslog(3). There is no other place to report a failure to.
fn write(level: char, message: &str) {
    let Ok(mut log) = OpenOptions::new().write(true).open(KERNEL_LOG) else { return };
    for line in message.lines().filter(|line| !line.trim().is_empty()) {
        drop(log.write_all(format!("<{level}>keelson-initrd: {line}\n").as_bytes()));
    }
}
