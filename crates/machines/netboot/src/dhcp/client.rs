//! What a DHCP client is: the firmware's PXE, its HTTP boot, iPXE, or none of these.

use crate::dhcp::packet::{Packet, option};
use crate::machine::Uuid;

/// Prefixes of option 60, which offers repeat.
pub const PXE_CLASS: &str = "PXEClient";
/// The same of HTTP boot.
pub const HTTP_CLASS: &str = "HTTPClient";
const IPXE: &[u8] = b"iPXE";

/// Which program boots the machine, as far as the loader depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS, which runs a network boot program of 16 bits.
    Bios,
    /// UEFI on x86.
    Efi,
    /// Another architecture; its number in option 93.
    Other(u16),
}

/// A client that boots from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// The firmware's PXE: loads a program by TFTP.
    Pxe(Firmware),
    /// The firmware's HTTP boot: loads a program from a URL.
    Http(Firmware),
    /// iPXE: loads a script from a URL.
    Ipxe,
}

impl Client {
    /// `None` if the client does not boot from the network.
    #[must_use]
    pub fn of(packet: &Packet) -> Option<Self> {
        let value = |number| packet.options.get(&number).map(Vec::as_slice).unwrap_or_default();
        let (class, user_class) = (value(option::CLASS), value(option::USER_CLASS));
        // As text, as most clients send it, or with its length before it (RFC 3004).
        let is_ipxe = user_class == IPXE || user_class.strip_prefix(&[4]) == Some(IPXE);
        if class.starts_with(HTTP_CLASS.as_bytes()) {
            Some(Self::Http(firmware(value(option::ARCHITECTURE), class)))
        } else if !class.starts_with(PXE_CLASS.as_bytes()) {
            None
        } else if is_ipxe {
            Some(Self::Ipxe)
        } else {
            Some(Self::Pxe(firmware(value(option::ARCHITECTURE), class)))
        }
    }
}

/// From option 93, or else from option 60: `PXEClient:Arch:00007:UNDI:003016`.
fn firmware(architectures: &[u8], class: &[u8]) -> Firmware {
    let number = match architectures {
        // A client may list several, the preferred one first.
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => {
            let class = String::from_utf8_lossy(class);
            let number = class.split(':').skip_while(|part| *part != "Arch").nth(1);
            number.and_then(|number| number.parse().ok()).unwrap_or_default()
        }
    };
    match number {
        0 => Firmware::Bios,
        // 6: 32 bits, 7 and 9: both in use for 64 bits, 15 and 16: the same for HTTP boot.
        6 | 7 | 9 | 15 | 16 => Firmware::Efi,
        other => Firmware::Other(other),
    }
}

/// UUID of the firmware, if option 97 has one.
#[must_use]
pub fn uuid(packet: &Packet) -> Option<Uuid> {
    let [0, bytes @ ..] = packet.options.get(&option::UUID)?.as_slice() else { return None };
    let bytes: [u8; 16] = bytes.try_into().ok()?;
    Some(Uuid::from_smbios(bytes)).filter(|uuid| !uuid.is_placeholder())
}
