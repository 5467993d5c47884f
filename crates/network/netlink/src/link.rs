//! Requests that concern one device.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use nix::errno::Errno;

use crate::request::{RequestError, Requests};

impl Requests<RouteNetlinkMessage> {
    /// The device with this name; `None` if there is none.
    ///
    /// # Errors
    /// The kernel does not answer, or refuses; so for all requests here.
    pub async fn link(&self, name: &str) -> Result<Option<LinkMessage>, RequestError> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::IfName(name.to_string())];
        match self.answer(RouteNetlinkMessage::GetLink(request)).await {
            Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link)),
            Ok(_) => Err(RequestError::Unexpected),
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The device with this index.
    pub async fn link_at(&self, index: u32) -> Result<LinkMessage, RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match self.answer(RouteNetlinkMessage::GetLink(request)).await? {
            RouteNetlinkMessage::NewLink(link) => Ok(link),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Deletes the device; it may already be absent.
    pub async fn delete_link(&self, index: u32) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match self.acknowledge(RouteNetlinkMessage::DelLink(request), 0).await {
            Err(error) if error.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// Changes attributes of the device.
    pub async fn change_link(&self, index: u32, attributes: Vec<LinkAttribute>) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = attributes;
        self.acknowledge(RouteNetlinkMessage::SetLink(request), 0).await
    }

    /// Sets the device up.
    pub async fn set_up(&self, index: u32) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.header.flags = LinkFlags::Up;
        request.header.change_mask = LinkFlags::Up;
        self.acknowledge(RouteNetlinkMessage::SetLink(request), 0).await
    }
}
