//! CloudSigma's server context, by the second serial port (contract 5.10).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloudinit::limits::MAX_RAW_BYTES;
use cloudinit::metadata::Metadata;
use cloudinit::provider::cloud_sigma::Context;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{BaudRate, FlushArg, SetArg, cfmakeraw, cfsetspeed, tcflush, tcgetattr, tcsetattr};

use super::error::DatasourceError;
use super::local;

// All below the root.
const PRODUCT: &str = "sys/class/dmi/id/product_name";
const PORT: &str = "dev/ttyS1";
const LEASES: &str = "run/systemd/netif/leases";
const INTERFACES: &str = "sys/class/net";

const NAME: &str = "CloudSigma";
/// Asks for the whole context: no key stands between the marks.
const REQUEST: &[u8] = b"<\n\n>";
/// End of transmission.
const END: u8 = 4;
const LIMIT: Duration = Duration::from_secs(10);

/// Whether this is a server of CloudSigma.
pub(super) fn is_here(root: &Path) -> bool {
    fs::read_to_string(root.join(PRODUCT)).is_ok_and(|name| name.trim() == NAME)
}

/// Whether its network is up.
pub(super) fn is_there(root: &Path) -> bool {
    fs::read_dir(root.join(LEASES)).is_ok_and(|mut leases| leases.next().is_some())
}

pub(super) fn metadata(root: &Path, context: &Context) -> Metadata {
    context.metadata(&mut |mac| leased_address(root, mac))
}

/// By which it is asked for.
pub(super) fn port(root: &Path) -> PathBuf {
    root.join(PORT)
}

/// Asks for it.
pub(super) fn context(root: &Path) -> Result<Context, DatasourceError> {
    let path = port(root);
    let said = ask(&path, LIMIT).map_err(|source| DatasourceError::Read { path: path.clone(), source })?;
    if said.len() > MAX_RAW_BYTES {
        return Err(DatasourceError::TooLarge { path, limit: MAX_RAW_BYTES });
    }
    Ok(Context::read(&said)?)
}

/// What comes before the end of transmission, or one byte more than may.
fn ask(path: &Path, limit: Duration) -> io::Result<Vec<u8>> {
    // The port must not become this process's terminal, nor wait for a carrier.
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let mut port = File::options().read(true).write(true).custom_flags(flags.bits()).open(path)?;
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    cfsetspeed(&mut settings, BaudRate::B115200)?;
    tcsetattr(&port, SetArg::TCSANOW, &settings)?;
    // An answer that nobody took would be taken for this one.
    tcflush(&port, FlushArg::TCIOFLUSH)?;
    port.write_all(REQUEST)?;
    let end = Instant::now() + limit;
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while said.len() <= MAX_RAW_BYTES {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if left.is_zero() || poll(&mut [PollFd::new(port.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"));
        }
        let count = match port.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let done = piece[..count].iter().position(|byte| *byte == END);
        said.extend_from_slice(&piece[..done.unwrap_or(count)]);
        if done.is_some() {
            break;
        }
    }
    Ok(said)
}

/// Of the interface with that MAC, as its DHCP server gave it.
fn leased_address(root: &Path, mac: &str) -> Option<IpAddr> {
    let text = |path: &Path| {
        let content = local::optional(path).ok().flatten()?;
        Some(String::from_utf8_lossy(&content).trim().to_owned())
    };
    for interface in fs::read_dir(root.join(INTERFACES)).ok()?.flatten() {
        let folder = interface.path();
        if !text(&folder.join("address")).is_some_and(|address| address.eq_ignore_ascii_case(mac)) {
            continue;
        }
        let lease = text(&root.join(LEASES).join(text(&folder.join("ifindex"))?))?;
        return lease.lines().find_map(|line| line.strip_prefix("ADDRESS="))?.parse().ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_or_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        assert_eq!(ask(&path, LIMIT).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "").unwrap();
        assert!(ask(&path, LIMIT).is_err(), "a file is no terminal");
        let pair = nix::pty::openpty(None, None).unwrap();
        let port = nix::unistd::ttyname(&pair.slave).unwrap();
        let silent = ask(&port, Duration::from_millis(100)).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
    }
}
