//! Requests over one netlink socket, and their answers.

use std::{fmt::Debug, io, pin::pin};

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkDeserializable,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_proto::{ConnectionHandle, ReplyExpectation, sys::SocketAddr};
use netlink_sys::AsyncSocket;
use nix::errno::Errno;
use tokio::time::timeout;

use crate::limits::{DUMP_ATTEMPTS, MAX_ENTRIES, REQUEST_DEADLINE};

/// The kernel itself.
fn kernel() -> SocketAddr {
    SocketAddr::new(0, 0)
}

/// Of an error: the header of the message that failed precedes the attributes.
const MESSAGE_HEADER: usize = 16;
const ERROR_TEXT: u16 = 1;

/// Why the kernel did not do what was requested.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// The kernel refused; its explanation, if it has one.
    #[error("{}{}", error.desc(), explained(*error, detail.as_deref()))]
    Refused {
        /// The error number.
        error: Errno,
        /// The kernel's text.
        detail: Option<String>,
    },
    /// No answer arrived.
    #[error("the kernel did not answer within {} s", REQUEST_DEADLINE.as_secs())]
    Deadline,
    /// The socket or its task is closed.
    #[error("the netlink socket is closed")]
    Closed,
    /// Each dump was interrupted by changes.
    #[error("the table changed during each of {DUMP_ATTEMPTS} dumps")]
    Inconsistent,
    /// More entries than the limit.
    #[error("the table has more than {MAX_ENTRIES} entries")]
    TooMany,
    /// An answer of another kind than the request's.
    #[error("the kernel's answer is not one to the request")]
    Unexpected,
}

impl RequestError {
    /// Whether the kernel refused with this error.
    pub fn is(&self, expected: Errno) -> bool {
        matches!(self, Self::Refused { error, .. } if *error == expected)
    }
}

fn explained(error: Errno, detail: Option<&str>) -> String {
    let mut text = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    if matches!(error, Errno::EPERM | Errno::EACCES) {
        text +=
            ": capability CAP_NET_ADMIN is required in the user namespace that owns the network namespace";
    }
    text
}

fn refused(message: &ErrorMessage) -> RequestError {
    let attributes = message.header.get(MESSAGE_HEADER..).unwrap_or_default();
    let mut attributes = NlasIterator::new(attributes).map_while(Result::ok);
    let detail = attributes.find(|attribute| attribute.kind() == ERROR_TEXT);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_string();
    RequestError::Refused {
        error: Errno::from_raw(message.raw_code().saturating_neg()),
        detail: detail.map(|attribute| text(attribute.value())),
    }
}

/// A socket of one netlink protocol. A task answers requests; it exits when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Requests<T: Debug> {
    handle: ConnectionHandle<T>,
}

impl<T> Requests<T>
where
    T: Debug + NetlinkSerializable + NetlinkDeserializable + Send + Unpin + 'static,
{
    /// Opens the socket in the network namespace of the calling thread, within a tokio runtime.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let (mut connection, handle, _) = netlink_proto::new_connection::<T>(protocol)?;
        // A closed socket must not look like an acknowledgement.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        let socket = connection.socket_mut().socket_mut();
        // Errors with the kernel's text, without a copy of the request.
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // The kernel applies the filters of dumps.
        socket.set_netlink_get_strict_chk(true)?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// Sends a request and waits for its acknowledgement.
    pub async fn acknowledge(&self, body: T, flags: u16) -> Result<(), RequestError> {
        let answers = self.send(body, NLM_F_ACK | flags)?;
        within_deadline(acknowledgement(answers)).await
    }

    /// Sends a request that has one message as its answer.
    pub async fn answer(&self, body: T) -> Result<T, RequestError> {
        let mut answers = pin!(self.send(body, 0)?);
        let message = within_deadline(async { answers.next().await.ok_or(RequestError::Closed) }).await?;
        match message.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            NetlinkPayload::Error(error) => Err(refused(&error)),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// The entries of a table that `select` keeps, from a dump that no change interrupted.
    pub async fn dump<U>(&self, body: T, select: impl Fn(T) -> Option<U>) -> Result<Vec<U>, RequestError>
    where
        T: Clone,
    {
        for _ in 0..DUMP_ATTEMPTS {
            let answers = self.send(body.clone(), NLM_F_DUMP)?;
            if let Some(entries) = within_deadline(entries(answers, &select)).await? {
                return Ok(entries);
            }
        }
        Err(RequestError::Inconsistent)
    }

    /// Sends messages as one datagram, and waits for the acknowledgement of the last one that is marked as expected.
    pub async fn batch(
        &self,
        messages: Vec<(NetlinkMessage<T>, ReplyExpectation)>,
    ) -> Result<(), RequestError> {
        let expected = messages.iter().filter(|(_, expectation)| *expectation == ReplyExpectation::Expected);
        let expected = expected.count();
        let answers = self.handle.request_batch_with_expectation(messages, kernel());
        let answers = answers.map_err(|_| RequestError::Closed)?;
        within_deadline(async {
            let mut answers = pin!(answers);
            for _ in 0..expected {
                match answers.next().await.ok_or(RequestError::Closed)?.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(refused(&error)),
                    NetlinkPayload::Error(_) => (),
                    _ => return Err(RequestError::Unexpected),
                }
            }
            Ok(())
        })
        .await
    }

    fn send(
        &self,
        body: T,
        flags: u16,
    ) -> Result<impl Stream<Item = NetlinkMessage<T>> + use<T>, RequestError> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(body));
        self.handle.request(message, kernel()).map_err(|_| RequestError::Closed)
    }
}

async fn within_deadline<U>(work: impl Future<Output = Result<U, RequestError>>) -> Result<U, RequestError> {
    timeout(REQUEST_DEADLINE, work).await.unwrap_or(Err(RequestError::Deadline))
}

async fn acknowledgement<T>(answers: impl Stream<Item = NetlinkMessage<T>>) -> Result<(), RequestError> {
    let mut answers = pin!(answers);
    while let Some(message) = answers.next().await {
        match message.payload {
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(refused(&error)),
            NetlinkPayload::Error(_) => return Ok(()),
            _ => (),
        }
    }
    Err(RequestError::Closed)
}

/// `None`: a change interrupted the dump.
async fn entries<T, U>(
    answers: impl Stream<Item = NetlinkMessage<T>>,
    select: impl Fn(T) -> Option<U>,
) -> Result<Option<Vec<U>>, RequestError> {
    let mut answers = pin!(answers);
    let (mut entries, mut consistent) = (Vec::new(), true);
    while let Some(message) = answers.next().await {
        consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
        match message.payload {
            NetlinkPayload::InnerMessage(entry) => entries.extend(select(entry)),
            NetlinkPayload::Error(error) => return Err(refused(&error)),
            NetlinkPayload::Done(done) if done.code < 0 => {
                let error = Errno::from_raw(done.code.saturating_neg());
                return Err(RequestError::Refused { error, detail: None });
            }
            NetlinkPayload::Done(_) => return Ok(consistent.then_some(entries)),
            _ => return Err(RequestError::Unexpected),
        }
        if entries.len() > MAX_ENTRIES {
            return Err(RequestError::TooMany);
        }
    }
    Err(RequestError::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Errno, detail: Option<&str>, expected: &str) {
        let detail = detail.map(str::to_string);
        assert_eq!(RequestError::Refused { error, detail }.to_string(), expected);
    }

    #[test]
    fn texts() {
        check(Errno::EEXIST, None, "File exists");
        check(Errno::EINVAL, Some("Invalid port"), "Invalid argument (Invalid port)");
        let permission = "Operation not permitted: capability CAP_NET_ADMIN is required in the user namespace that \
                          owns the network namespace";
        check(Errno::EPERM, None, permission);
    }

    #[test]
    fn the_kernels_text_of_an_error() {
        let mut message = ErrorMessage::default();
        message.code = std::num::NonZeroI32::new(-22);
        message.header = vec![0; MESSAGE_HEADER];
        message.header.extend([9, 0, 1, 0, b'l', b'o', b'n', b'g', 0, 0, 0, 0]);
        let detail = Some("long".to_string());
        assert_eq!(refused(&message), RequestError::Refused { error: Errno::EINVAL, detail });
        // Cut attributes are no text.
        message.header.truncate(MESSAGE_HEADER + 5);
        assert_eq!(refused(&message), RequestError::Refused { error: Errno::EINVAL, detail: None });
    }
}
