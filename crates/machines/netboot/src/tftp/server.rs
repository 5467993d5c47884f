//! The TFTP server: one socket for requests, and one for each transfer.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits::{
    TFTP_DURATION, TFTP_READ_AHEAD, TFTP_REQUEST_BYTES, TFTP_TRANSFERS, TFTP_TRANSFERS_PER_CLIENT,
};
use crate::tftp::options::negotiate;
use crate::tftp::packet::{self, ErrorCode, FromClient, Request};
use crate::tftp::transfer::{Step, Transfer, wire_number};

/// The files of a server.
pub trait Source: Send + Sync + 'static {
    /// The path of a file, by its whole name.
    fn find(&self, name: &str) -> Option<PathBuf>;
    /// A client has the whole file.
    fn sent(&self, client: IpAddr, name: &str);
}

/// Clients with a transfer in progress.
type Clients = Arc<Mutex<BTreeSet<SocketAddr>>>;

/// Removes its client when the transfer ends.
struct Slot {
    clients: Clients,
    client: SocketAddr,
}

impl Slot {
    /// `None` if there are too many transfers, or if the client repeats its request.
    fn take(clients: &Clients, client: SocketAddr) -> Option<Self> {
        let mut all = clients.lock();
        let of_client = all.iter().filter(|one| one.ip() == client.ip()).count();
        if all.len() >= TFTP_TRANSFERS || of_client >= TFTP_TRANSFERS_PER_CLIENT || !all.insert(client) {
            return None;
        }
        Some(Self { clients: clients.clone(), client })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.clients.lock().remove(&self.client);
    }
}

/// Serves until `stop`. Transfers in progress end with it.
pub async fn serve(socket: UdpSocket, source: Arc<impl Source>, stop: impl Future<Output = ()>) {
    let clients = Clients::default();
    let mut transfers = JoinSet::new();
    // One byte more, so that a longer packet is not taken for its beginning.
    let mut buffer = vec![0; TFTP_REQUEST_BYTES + 1];
    tokio::pin!(stop);
    loop {
        let received = tokio::select! {
            () = &mut stop => break,
            Some(_) = transfers.join_next() => continue,
            received = socket.recv_from(&mut buffer) => received,
        };
        let (length, client) = match received {
            Ok(received) => received,
            // Reported for an earlier answer, as when the client has closed its port.
            Err(error) => {
                tracing::debug!(%error, "cannot receive TFTP requests");
                continue;
            }
        };
        match FromClient::decode(&buffer[..length]) {
            Ok(FromClient::Read(request)) => {
                let Some(slot) = Slot::take(&clients, client) else {
                    tracing::debug!(%client, "a TFTP request is ignored: too many transfers, or repeated");
                    continue;
                };
                let (source, own) = (source.clone(), socket.local_addr());
                transfers.spawn(async move {
                    let file = request.file.clone();
                    let sending = async { answer(own?, client, &request, &*source).await };
                    let ended = timeout(TFTP_DURATION, sending).await;
                    match ended.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                        Ok(()) => source.sent(client.ip(), &file),
                        Err(error) => tracing::debug!(%client, ?file, %error, "a TFTP transfer failed"),
                    }
                    drop(slot);
                });
            }
            Ok(FromClient::Write) => {
                let refusal = packet::error(ErrorCode::AccessViolation, "this server is read only");
                if let Err(error) = socket.send_to(&refusal, client).await {
                    tracing::debug!(%client, %error, "cannot refuse a TFTP request");
                }
            }
            Ok(FromClient::Ack(_) | FromClient::Error { .. }) => {}
            Err(error) => tracing::debug!(%client, %error, "a packet is not TFTP"),
        }
    }
    transfers.shutdown().await;
}

/// Sends the requested file, or an error.
async fn answer(
    own: SocketAddr,
    client: SocketAddr,
    request: &Request,
    source: &impl Source,
) -> io::Result<()> {
    let socket = UdpSocket::bind((own.ip(), 0)).await?;
    socket.connect(client).await?;
    let refuse = async |code, message: &str| -> io::Result<()> {
        socket.send(&packet::error(code, message)).await?;
        Err(io::Error::other(message.to_owned()))
    };
    if request.mode != "octet" {
        return refuse(ErrorCode::IllegalOperation, "only mode octet is supported").await;
    }
    let Some(path) = source.find(request.file.trim_start_matches('/')) else {
        return refuse(ErrorCode::FileNotFound, "no such file").await;
    };
    let opened = spawn_blocking(move || {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    });
    match opened.await.map_err(io::Error::other)? {
        Ok((file, size)) => send(&socket, request, file, size).await,
        Err(error) => {
            let error: io::Error = error;
            tracing::warn!(file = ?request.file, %error, "cannot read a file");
            refuse(ErrorCode::NotDefined, "cannot read the file").await
        }
    }
}

async fn send(socket: &UdpSocket, request: &Request, file: File, size: u64) -> io::Result<()> {
    let (parameters, accepted) = negotiate(&request.options, size);
    let mut reader =
        Reader { file: Arc::new(file), start: 0, bytes: Vec::new(), ahead: u64::from(parameters.block) };
    let mut transfer = Transfer::new(size, parameters, accepted.is_some());
    let mut step = transfer.start();
    let mut deadline = Instant::now() + parameters.timeout;
    let mut buffer = [0; TFTP_REQUEST_BYTES + 1];
    loop {
        match step {
            Step::Options => {
                socket.send(&packet::options_ack(accepted.as_deref().unwrap_or_default())).await?;
            }
            Step::Blocks(first, last) => {
                for block in first..=last {
                    let (start, length) = transfer.position(block);
                    let bytes = reader.read(start, length, size).await?;
                    socket.send(&packet::data(wire_number(block), bytes)).await?;
                }
            }
            Step::Wait => {}
            Step::Done => return Ok(()),
            Step::GiveUp => return Err(io::ErrorKind::TimedOut.into()),
        }
        // A packet that changes nothing does not extend the time.
        if step != Step::Wait {
            deadline = Instant::now() + parameters.timeout;
        }
        step = match timeout_at(deadline, socket.recv(&mut buffer)).await {
            Err(_) => transfer.timeout(),
            Ok(received) => match FromClient::decode(&buffer[..received?]) {
                Ok(FromClient::Ack(number)) => transfer.acknowledge(number),
                // Firmware first asks for the size only, and gives up.
                Ok(FromClient::Error { code, message }) => {
                    return Err(io::Error::other(format!("the client reports error {code}: {message}")));
                }
                _ => Step::Wait,
            },
        };
    }
}

/// Reads many blocks together.
struct Reader {
    file: Arc<File>,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes of a block.
    ahead: u64,
}

impl Reader {
    async fn read(&mut self, start: u64, length: u64, size: u64) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if start < self.start || start + length > end {
            let ahead = (self.ahead * TFTP_READ_AHEAD).max(length).min(size - start);
            let mut bytes = vec![0; usize::try_from(ahead).map_err(io::Error::other)?];
            let file = Arc::clone(&self.file);
            let read = spawn_blocking(move || file.read_exact_at(&mut bytes, start).map(|()| bytes));
            self.bytes = read.await.map_err(io::Error::other)??;
            self.start = start;
        }
        let from = usize::try_from(start - self.start).map_err(io::Error::other)?;
        let to = from + usize::try_from(length).map_err(io::Error::other)?;
        Ok(&self.bytes[from..to])
    }
}
