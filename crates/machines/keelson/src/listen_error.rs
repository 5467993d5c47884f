//! A port of `keelson serve-netboot` that cannot be opened, and what to do.

use std::io;

/// A port that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {protocol} port {port}, for {what}")]
pub struct ListenError {
    what: &'static str,
    protocol: &'static str,
    port: u16,
    source: io::Error,
}

impl ListenError {
    pub fn udp(what: &'static str, port: u16) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, protocol: "UDP", port, source }
    }

    pub fn tcp(what: &'static str, port: u16) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, protocol: "TCP", port, source }
    }

    /// What to do, if the cause is known.
    pub fn hint(&self) -> Option<String> {
        let (flag, options) = match self.what {
            "HTTP" => ("--http-port PORT selects another one", "-ltnp"),
            "TFTP" => ("--tftp-port PORT with --no-dhcp selects another one", "-lunp"),
            _ => ("--no-dhcp leaves DHCP to it (--print-dnsmasq)", "-lunp"),
        };
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                Some(format!("`ss {options} 'sport = :{}'` as root shows the process; {flag}", self.port))
            }
            io::ErrorKind::PermissionDenied => Some(
                "run it as root, or without its privileged ports: --no-dhcp --tftp-port 6969 (--print-dnsmasq prints the \
                 settings of a DHCP server that refers machines to it)"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}
