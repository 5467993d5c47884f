//! The answer to a packet: as a proxy, which adds the boot file to another server's addresses, or as the DHCP server of
//! a lab network.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::dhcp::client::{Client, Firmware, HTTP_CLASS, PXE_CLASS};
use crate::dhcp::lease::Leases;
use crate::dhcp::packet::{FILE_BYTES, MessageType, Operation, Packet, option};
use crate::limits::LEASE_SECONDS;

/// Port of DHCP servers.
pub const SERVER_PORT: u16 = 67;
/// Port of DHCP clients.
pub const CLIENT_PORT: u16 = 68;
/// Port on which firmware of EFI asks a proxy once more, when it has its address.
pub const BOOT_PORT: u16 = 4011;
/// Path of the script that iPXE loads.
pub const SCRIPT_PATH: &str = "/boot.ipxe";
/// Sub-option 6 of option 43, PXE_DISCOVERY_CONTROL, with 8: the boot file of this offer is used, without a search
/// for boot servers.
const USE_THIS_FILE: [u8; 4] = [6, 1, 8, 255];
/// Sub-option 176 of option 175, no-pxedhcp: iPXE does not wait for the offer of a proxy.
const NO_PROXY: [u8; 3] = [176, 1, 1];

/// The port of the server at which a packet arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// 67, also with the packets that clients broadcast to other servers.
    Server,
    /// 4011.
    Boot,
}

/// What answers contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server's address, for TFTP too.
    pub address: Ipv4Addr,
    /// `http://10.9.0.1:8042`.
    pub url: String,
    /// Name of the loader for a BIOS, if there is one.
    pub bios_loader: Option<String>,
    /// Name of the loader for EFI, if there is one.
    pub efi_loader: Option<String>,
}

/// What a lab network has in addition to addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The network's mask.
    pub mask: Ipv4Addr,
    /// Default route.
    pub router: Option<Ipv4Addr>,
    /// Name servers.
    pub name_servers: Vec<Ipv4Addr>,
}

/// What the rules select for the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// It boots from its disk: no answer, and the firmware tries the next device.
    Disk,
    /// It boots from the network.
    Network {
        /// Name of the image's UKI, if it has one.
        uki: Option<String>,
        /// Whether HTTP boot starts the UKI instead of iPXE.
        prefers_uki: bool,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[expect(missing_docs, reason = "each variant is documented by its message")]
pub enum Ignored {
    #[error("not a request")]
    Reply,
    #[error("not a message that this server answers")]
    Type,
    #[error("for another server")]
    OtherServer,
    #[error("the client does not boot from the network")]
    NotNetboot,
    #[error("the machine boots from its disk")]
    Disk,
    #[error("no loader for architecture {0}")]
    Architecture(u16),
    #[error("no loader for a BIOS: undionly.kpxe is missing")]
    NoBiosLoader,
    #[error("no loader for EFI: snponly.efi and ipxe.efi are missing")]
    NoEfiLoader,
    #[error("the rule selects a UKI for HTTP boot, which the image does not have (-pxe.efi)")]
    NoUki,
    #[error("the URL of the boot file is too long")]
    LongFile,
    #[error("all addresses of the range are leased")]
    NoAddress,
}

impl Ignored {
    /// A short name, for counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Type => "type",
            Self::OtherServer => "other-server",
            Self::NotNetboot => "not-netboot",
            Self::Disk => "disk",
            Self::Architecture(_) => "architecture",
            Self::NoBiosLoader | Self::NoEfiLoader => "no-loader",
            Self::NoUki => "no-uki",
            Self::LongFile => "long-file",
            Self::NoAddress => "no-address",
        }
    }

    /// Whether the operator has something to do.
    #[must_use]
    pub fn is_problem(self) -> bool {
        !matches!(self, Self::Reply | Self::Type | Self::OtherServer | Self::NotNetboot | Self::Disk)
    }
}

/// What a client loads first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BootFile {
    name: String,
    class: &'static str,
    /// Without it a BIOS's PXE searches for boot servers; with it, some firmware of EFI ignores the offer.
    vendor: Option<[u8; 4]>,
}

fn boot_file(client: Client, server: &Server, selection: &Selection) -> Result<BootFile, Ignored> {
    let Selection::Network { uki, prefers_uki } = selection else { return Err(Ignored::Disk) };
    let loader = |name: &Option<String>, missing| name.clone().ok_or(missing);
    let (name, class, vendor) = match client {
        Client::Ipxe => (format!("{}{SCRIPT_PATH}", server.url), PXE_CLASS, None),
        Client::Pxe(Firmware::Bios) => {
            (loader(&server.bios_loader, Ignored::NoBiosLoader)?, PXE_CLASS, Some(USE_THIS_FILE))
        }
        Client::Pxe(Firmware::Efi) => (loader(&server.efi_loader, Ignored::NoEfiLoader)?, PXE_CLASS, None),
        Client::Http(Firmware::Efi) => {
            let name = match (prefers_uki, &server.efi_loader) {
                (false, Some(loader)) => loader,
                (false, None) => uki.as_ref().ok_or(Ignored::NoEfiLoader)?,
                (true, _) => uki.as_ref().ok_or(Ignored::NoUki)?,
            };
            (file_url(&server.url, name), HTTP_CLASS, None)
        }
        Client::Http(Firmware::Bios) => return Err(Ignored::Architecture(0)),
        Client::Pxe(Firmware::Other(number)) | Client::Http(Firmware::Other(number)) => {
            return Err(Ignored::Architecture(number));
        }
    };
    // The option has room for more; firmware reads one or the other.
    let longest = if class == HTTP_CLASS { usize::from(u8::MAX) } else { FILE_BYTES };
    if name.len() > longest { Err(Ignored::LongFile) } else { Ok(BootFile { name, class, vendor }) }
}

/// UEFI's HTTP boot tries the next device once this file is not found; without any it repeats its request for a minute.
fn absent_file(server: &Server) -> BootFile {
    BootFile { name: format!("{}/boot-from-disk", server.url), class: HTTP_CLASS, vendor: None }
}

/// Why a client gets no boot file.
#[must_use]
pub fn problem(client: Client, server: &Server, selection: &Selection) -> Option<Ignored> {
    boot_file(client, server, selection).err()
}

/// URL of a file of the server.
#[must_use]
pub fn file_url(url: &str, name: &str) -> String {
    format!("{url}/files/{}", percent_encoding::utf8_percent_encode(name, crate::query::UNRESERVED))
}

/// The answer of a proxy, which gives no addresses: an offer to a DISCOVER, an acknowledgement to a REQUEST at port
/// 4011.
///
/// # Errors
/// There is no answer.
pub fn proxy(
    request: &Packet,
    port: Port,
    server: &Server,
    selection: &Selection,
) -> Result<Packet, Ignored> {
    if request.operation != Operation::Request {
        return Err(Ignored::Reply);
    }
    let client = Client::of(request).ok_or(Ignored::NotNetboot)?;
    let kind = match (port, request.message_type()) {
        (Port::Server, Some(MessageType::Discover)) => MessageType::Offer,
        (Port::Boot, Some(MessageType::Request | MessageType::Inform)) => MessageType::Ack,
        _ => return Err(Ignored::Type),
    };
    if request.address(option::SERVER).is_some_and(|selected| selected != server.address) {
        return Err(Ignored::OtherServer);
    }
    let file = boot_file(client, server, selection)?;
    let mut reply = reply_to(request, kind, server.address);
    reply.options.insert(option::CLASS, file.class.into());
    if let Some(vendor) = file.vendor {
        reply.options.insert(option::VENDOR, vendor.into());
    }
    if let Some(uuid) = request.options.get(&option::UUID) {
        reply.options.insert(option::UUID, uuid.clone());
    }
    set_file(&mut reply, server, file);
    Ok(reply)
}

/// The answer of the DHCP server of a lab network. `now` is Unix time in seconds.
///
/// # Errors
/// There is no answer.
pub fn lease(
    request: &Packet,
    server: &Server,
    network: &Network,
    selection: &Selection,
    leases: &mut Leases,
    now: u64,
) -> Result<Packet, Ignored> {
    if request.operation != Operation::Request {
        return Err(Ignored::Reply);
    }
    let selected = request.address(option::SERVER);
    let is_for_another = selected.is_some_and(|selected| selected != server.address);
    let requested = request.address(option::REQUESTED_ADDRESS);
    let (kind, address) = match request.message_type().ok_or(Ignored::Type)? {
        MessageType::Discover => {
            let address = leases.offer(request.mac, requested, now).ok_or(Ignored::NoAddress)?;
            (MessageType::Offer, Some(address))
        }
        MessageType::Request | MessageType::Release | MessageType::Decline if is_for_another => {
            return Err(Ignored::OtherServer);
        }
        MessageType::Request => {
            let address = requested.unwrap_or(request.client_address);
            if !leases.confirm(request.mac, address, now) {
                return Ok(reply_to(request, MessageType::Nak, server.address));
            }
            (MessageType::Ack, Some(address))
        }
        MessageType::Inform => (MessageType::Ack, None),
        MessageType::Release => {
            leases.release(request.mac);
            return Err(Ignored::Type);
        }
        MessageType::Decline => {
            leases.decline(request.mac, now);
            return Err(Ignored::Type);
        }
        MessageType::Offer | MessageType::Ack | MessageType::Nak => return Err(Ignored::Type),
    };
    let mut reply = reply_to(request, kind, server.address);
    let addresses = |addresses: &[Ipv4Addr]| addresses.iter().flat_map(Ipv4Addr::octets).collect();
    reply.options.insert(option::MASK, addresses(&[network.mask]));
    if let Some(router) = network.router {
        reply.options.insert(option::ROUTER, addresses(&[router]));
    }
    if !network.name_servers.is_empty() {
        reply.options.insert(option::NAME_SERVER, addresses(&network.name_servers));
    }
    if let Some(address) = address {
        reply.your_address = address;
        reply.options.insert(option::LEASE_TIME, LEASE_SECONDS.to_be_bytes().into());
    }
    // Without a boot file the firmware tries the next device.
    let client = Client::of(request);
    let file = match (client, selection) {
        (Some(Client::Http(_)), Selection::Disk) => Some(absent_file(server)),
        (Some(client), _) => boot_file(client, server, selection).ok(),
        (None, _) => None,
    };
    if let Some(file) = file {
        if client == Some(Client::Ipxe) {
            reply.options.insert(option::IPXE, NO_PROXY.into());
        }
        if file.class == HTTP_CLASS {
            reply.options.insert(option::CLASS, file.class.into());
        }
        set_file(&mut reply, server, file);
    }
    Ok(reply)
}

fn reply_to(request: &Packet, kind: MessageType, server: Ipv4Addr) -> Packet {
    let mut reply = Packet {
        operation: Operation::Reply,
        hops: 0,
        seconds: 0,
        // A NAK is for a client whose address is wrong.
        client_address: match kind {
            MessageType::Ack => request.client_address,
            _ => Ipv4Addr::UNSPECIFIED,
        },
        your_address: Ipv4Addr::UNSPECIFIED,
        next_server: Ipv4Addr::UNSPECIFIED,
        file: String::new(),
        options: [(option::SERVER, server.octets().into())].into(),
        ..request.clone()
    };
    reply.set_type(kind);
    reply
}

fn set_file(reply: &mut Packet, server: &Server, file: BootFile) {
    reply.next_server = server.address;
    if file.class == HTTP_CLASS {
        reply.options.insert(option::BOOT_FILE, file.name.clone().into_bytes());
    }
    if file.name.len() <= FILE_BYTES {
        reply.file = file.name;
    }
}

/// Where the answer goes. `None` if the request has no usable source.
#[must_use]
pub fn destination(request: &Packet, reply: &Packet, port: Port, from: SocketAddrV4) -> Option<SocketAddrV4> {
    let is_nak = reply.message_type() == Some(MessageType::Nak);
    Some(match port {
        Port::Boot if from.ip().is_unspecified() => return None,
        Port::Boot => from,
        Port::Server if !request.relay.is_unspecified() => SocketAddrV4::new(request.relay, SERVER_PORT),
        Port::Server if !request.client_address.is_unspecified() && !is_nak => {
            SocketAddrV4::new(request.client_address, CLIENT_PORT)
        }
        // Its address is not configured yet, so that it could not answer ARP.
        Port::Server => SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT),
    })
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
