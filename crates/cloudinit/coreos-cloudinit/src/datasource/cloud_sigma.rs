//! CloudSigma's server context, read over the second serial port (contract 5.10).

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

// All relative to the root.
const PRODUCT: &str = "sys/class/dmi/id/product_name";
const PORT: &str = "dev/ttyS1";
const LEASES: &str = "run/systemd/netif/leases";
const INTERFACES: &str = "sys/class/net";

const NAME: &str = "CloudSigma";
/// Requests the whole context: an empty key between the markers.
const REQUEST: &[u8] = b"<\n\n>";
/// End of transmission.
const END_OF_TRANSMISSION: u8 = 4;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether this machine runs on CloudSigma.
pub(super) fn is_cloud_sigma(root: &Path) -> bool {
    fs::read_to_string(root.join(PRODUCT)).is_ok_and(|name| name.trim() == NAME)
}

/// Whether the network is configured.
pub(super) fn has_lease(root: &Path) -> bool {
    fs::read_dir(root.join(LEASES)).is_ok_and(|mut leases| leases.next().is_some())
}

pub(super) fn metadata(root: &Path, context: &Context) -> Metadata {
    context.metadata(&mut |mac| leased_address(root, mac))
}

/// The serial port of the server context.
pub(super) fn port(root: &Path) -> PathBuf {
    root.join(PORT)
}

/// Reads the context from the port.
pub(super) fn query_context(root: &Path) -> Result<Context, DatasourceError> {
    let path = port(root);
    let response = query(&path, RESPONSE_TIMEOUT)
        .map_err(|source| DatasourceError::Read { path: path.clone(), source })?;
    if response.len() > MAX_RAW_BYTES {
        return Err(DatasourceError::TooLarge { path, limit: MAX_RAW_BYTES });
    }
    Ok(Context::read(&response)?)
}

/// The response up to the end of transmission, capped at one byte over the limit.
fn query(path: &Path, limit: Duration) -> io::Result<Vec<u8>> {
    // The port must neither become the controlling terminal nor wait for a carrier.
    let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
    let mut port = File::options().read(true).write(true).custom_flags(flags.bits()).open(path)?;
    let mut settings = tcgetattr(&port)?;
    cfmakeraw(&mut settings);
    cfsetspeed(&mut settings, BaudRate::B115200)?;
    tcsetattr(&port, SetArg::TCSANOW, &settings)?;
    // Discards an unread response of an earlier request.
    tcflush(&port, FlushArg::TCIOFLUSH)?;
    port.write_all(REQUEST)?;
    let end = Instant::now() + limit;
    let mut response = Vec::new();
    let mut buffer = [0; 4096];
    while response.len() <= MAX_RAW_BYTES {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if left.is_zero() || poll(&mut [PollFd::new(port.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no response in time"));
        }
        let count = match port.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let done = buffer[..count].iter().position(|byte| *byte == END_OF_TRANSMISSION);
        response.extend_from_slice(&buffer[..done.unwrap_or(count)]);
        if done.is_some() {
            break;
        }
    }
    Ok(response)
}

/// The DHCP address of the interface with this MAC.
fn leased_address(root: &Path, mac: &str) -> Option<IpAddr> {
    let text = |path: &Path| {
        let content = local::read_optional(path).ok().flatten()?;
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
    fn missing_file_and_silent_ports_fail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("port");
        assert_eq!(query(&path, RESPONSE_TIMEOUT).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, "").unwrap();
        assert!(query(&path, RESPONSE_TIMEOUT).is_err(), "a file is no terminal");
        let pair = nix::pty::openpty(None, None).unwrap();
        let port = nix::unistd::ttyname(&pair.slave).unwrap();
        let timed_out = query(&port, Duration::from_millis(100)).unwrap_err();
        assert_eq!(timed_out.kind(), io::ErrorKind::TimedOut);
    }
}
