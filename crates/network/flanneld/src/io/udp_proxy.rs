//! Carries the packets of backend udp between the TUN device and the socket.
//!
//! Two tasks, each with one buffer: nothing is allocated for a packet. [`flannel_core`] decides about each.

use std::{sync::Arc, time::Instant};

use flannel_core::{MAX_ANSWER, Outgoing, RETRY, UdpHosts, incoming};
use flannel_network::TunDevice;
use ipnet::Ipv4Net;
use tokio::{
    net::UdpSocket,
    sync::watch,
    task::{JoinSet, coop::consume_budget},
    time::sleep,
};

use crate::limits::{MAX_PACKET, REPEAT_LOG};

/// Tasks that carry packets until it is dropped.
pub struct UdpProxy {
    device: Arc<TunDevice>,
    _tasks: JoinSet<()>,
}

impl UdpProxy {
    /// Starts to carry the packets of a host with this `subnet`.
    pub fn start(
        device: TunDevice,
        socket: Arc<UdpSocket>,
        hosts: watch::Receiver<UdpHosts>,
        subnet: Ipv4Net,
    ) -> UdpProxy {
        let device = Arc::new(device);
        let mut tasks = JoinSet::new();
        tasks.spawn(device_to_socket(device.clone(), socket.clone(), hosts));
        tasks.spawn(socket_to_device(socket, device.clone(), subnet));
        UdpProxy { device, _tasks: tasks }
    }

    pub fn device(&self) -> &TunDevice {
        &self.device
    }
}

async fn device_to_socket(device: Arc<TunDevice>, socket: Arc<UdpSocket>, hosts: watch::Receiver<UdpHosts>) {
    let mut buffer = vec![0; MAX_PACKET];
    let mut answer = [0; MAX_ANSWER];
    let mut failures = Failures::default();
    loop {
        // Discarded and answered packets of a container must not keep the daemon from its other tasks.
        consume_budget().await;
        let packet = match device.packets.recv(&mut buffer).await {
            Ok(length) => &mut buffer[..length],
            Err(error) => {
                failures.log(&format!("cannot read a packet from {}: {error}", device.name));
                sleep(RETRY).await;
                continue;
            }
        };
        let decision = hosts.borrow().outgoing(packet, &mut answer);
        match decision {
            Outgoing::Send(host) => {
                if let Err(error) = socket.send_to(packet, host).await {
                    failures.log(&format!("cannot send a packet to {host}: {error}"));
                }
            }
            Outgoing::Answer(length) => {
                if let Err(error) = device.packets.send(&answer[..length]).await {
                    failures.log(&format!("cannot answer a packet to an unknown subnet: {error}"));
                }
            }
            Outgoing::Discard(discard) => tracing::debug!("discarded a packet of this host: {discard}"),
        }
    }
}

async fn socket_to_device(socket: Arc<UdpSocket>, device: Arc<TunDevice>, subnet: Ipv4Net) {
    let mut buffer = vec![0; MAX_PACKET];
    let mut failures = Failures::default();
    loop {
        consume_budget().await;
        let (packet, sender) = match socket.recv_from(&mut buffer).await {
            Ok((length, sender)) => (&mut buffer[..length], sender),
            Err(error) => {
                failures.log(&format!("cannot receive a packet of another host: {error}"));
                sleep(RETRY).await;
                continue;
            }
        };
        match incoming(packet, subnet) {
            Ok(()) => {
                if let Err(error) = device.packets.send(packet).await {
                    failures.log(&format!("cannot write a packet to {}: {error}", device.name));
                }
            }
            Err(discard) => tracing::debug!("discarded a packet of {sender}: {discard}"),
        }
    }
}

/// Failures for packets, of which few are logged: there may be one for each packet.
#[derive(Default)]
struct Failures {
    logged: Option<Instant>,
    unlogged: u64,
}

impl Failures {
    fn log(&mut self, message: &str) {
        if self.logged.is_some_and(|logged| logged.elapsed() < REPEAT_LOG) {
            self.unlogged += 1;
            return;
        }
        match self.unlogged {
            0 => tracing::warn!("{message}"),
            unlogged => tracing::warn!("{message} ({unlogged} failures since the last report)"),
        }
        *self = Failures { logged: Some(Instant::now()), unlogged: 0 };
    }
}
