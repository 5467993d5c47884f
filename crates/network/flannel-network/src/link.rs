//! Requests that concern one device.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use nix::errno::Errno;

use crate::{network::Network, request::RequestError};

impl Network {
    /// The device with this name; `None` if there is none.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<LinkMessage>, RequestError> {
        let mut request = LinkMessage::default();
        request.attributes = vec![LinkAttribute::IfName(name.to_string())];
        match self.route.answer(RouteNetlinkMessage::GetLink(request)).await {
            Ok(RouteNetlinkMessage::NewLink(link)) => Ok(Some(link)),
            Ok(_) => Err(RequestError::Unexpected),
            Err(error) if error.is(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The device with this index.
    pub(crate) async fn link_at(&self, index: u32) -> Result<LinkMessage, RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match self.route.answer(RouteNetlinkMessage::GetLink(request)).await? {
            RouteNetlinkMessage::NewLink(link) => Ok(link),
            _ => Err(RequestError::Unexpected),
        }
    }

    /// Deletes the device; it may already be absent.
    pub(crate) async fn delete_link(&self, index: u32) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        match self.route.acknowledge(RouteNetlinkMessage::DelLink(request), 0).await {
            Err(error) if error.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    /// Changes attributes of the device.
    pub(crate) async fn change_link(
        &self,
        index: u32,
        attributes: Vec<LinkAttribute>,
    ) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.attributes = attributes;
        self.route.acknowledge(RouteNetlinkMessage::SetLink(request), 0).await
    }

    /// Sets the device up.
    pub(crate) async fn set_up(&self, index: u32) -> Result<(), RequestError> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        request.header.flags = LinkFlags::Up;
        request.header.change_mask = LinkFlags::Up;
        self.route.acknowledge(RouteNetlinkMessage::SetLink(request), 0).await
    }
}
