//! The DHCP server's sockets.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nix::sys::socket::sockopt::{BindToDevice, Broadcast};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};
use tokio::net::UdpSocket;

use crate::dhcp::client::{Client, uuid};
use crate::dhcp::packet::{MessageType, Packet, option};
use crate::dhcp::reply::{self, Ignored, Port};
use crate::limits::DHCP_BYTES;
use crate::machine::Identity;
use crate::progress::{Stage, Step};
use crate::server::{Server, now};

const DISK: Step<'static> = Step { stage: Stage::Disk, detail: "", is_first: false, from: None };

/// A socket for the broadcasts of one interface. Must be called within a tokio runtime.
///
/// # Errors
/// The port is in use, or needs rights.
pub fn open(interface: &str, port: u16) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&socket, BindToDevice, &OsString::from(interface))?;
    setsockopt(&socket, Broadcast, &true)?;
    let any = SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    bind(socket.as_raw_fd(), &any)?;
    UdpSocket::from_std(socket.into())
}

/// Serves until `stop`.
pub async fn serve(socket: UdpSocket, port: Port, server: Arc<Server>, stop: impl Future<Output = ()>) {
    // One byte more, so that a longer packet is not taken for its beginning.
    let mut buffer = vec![0; DHCP_BYTES + 1];
    tokio::pin!(stop);
    loop {
        let received = tokio::select! {
            () = &mut stop => return,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, from) = match received {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "cannot receive DHCP packets");
                continue;
            }
        };
        let Some((reply, to)) = answer(&server, &buffer[..length], port, from) else { continue };
        if reply.message_type() == Some(MessageType::Ack) && port == Port::Server && !save(&server).await {
            continue;
        }
        if let Err(error) = socket.send_to(&reply.encode(), to).await {
            tracing::warn!(mac = %reply.mac, %to, %error, "cannot send a DHCP reply");
        }
    }
}

/// Leases are on disk before a machine uses them.
async fn save(server: &Arc<Server>) -> bool {
    let server = server.clone();
    let saved = tokio::task::spawn_blocking(move || match &server.lab {
        Some(lab) => {
            let records = lab.leases.lock().records();
            lab.file.write(&records)
        }
        None => Ok(()),
    });
    match saved.await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no address is leased");
            false
        }
        Err(_) => false,
    }
}

/// The answer to a datagram, and where it goes.
fn answer(server: &Server, bytes: &[u8], port: Port, from: SocketAddrV4) -> Option<(Packet, SocketAddrV4)> {
    let Ok(request) = Packet::decode(bytes) else {
        server.count("malformed");
        return None;
    };
    let client = Client::of(&request);
    let machine = Identity { mac: Some(request.mac), uuid: uuid(&request), serial: None };
    let selection = server.selection(&machine);
    let reply = match &server.lab {
        Some(lab) => {
            let leases = &mut lab.leases.lock();
            reply::lease(&request, &server.dhcp, &lab.network, &selection, leases, now())
        }
        None => reply::proxy(&request, port, &server.dhcp, &selection),
    };
    learn_address(server, &request);
    match reply {
        Ok(reply) => {
            if let Some(client) = client {
                // The DHCP server of a lab network answers with the address only.
                match reply::problem(client, &server.dhcp, &selection) {
                    None => note_offer(server, client, &reply),
                    Some(Ignored::Disk) => server.record(request.mac, &DISK),
                    Some(why) => server.warn(request.mac, why),
                }
            }
            let to = reply::destination(&request, &reply, port, from)?;
            Some((reply, to))
        }
        Err(why) => {
            server.count(why.name());
            match why {
                Ignored::Disk => server.record(request.mac, &DISK),
                why if why.is_problem() => server.warn(request.mac, why),
                _ => {}
            }
            None
        }
    }
}

/// Broadcast requests to other servers, too, have the address that the machine will have.
fn learn_address(server: &Server, request: &Packet) {
    if request.message_type() == Some(MessageType::Request) {
        let address = request.address(option::REQUESTED_ADDRESS).unwrap_or(request.client_address);
        if !address.is_unspecified() {
            server.machines.lock().set_address(request.mac, address.into());
        }
    }
}

fn note_offer(server: &Server, client: Client, reply: &Packet) {
    let in_option =
        reply.options.get(&option::BOOT_FILE).map(|file| String::from_utf8_lossy(file).into_owned());
    let file = in_option.unwrap_or_else(|| reply.file.clone());
    let detail = file.rsplit('/').next().unwrap_or_default();
    let is_first = client != Client::Ipxe;
    server.record(reply.mac, &Step { stage: Stage::Offer, detail, is_first, from: None });
}
