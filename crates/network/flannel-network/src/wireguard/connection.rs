//! Generic netlink, through which the kernel's WireGuard is configured.

use netlink_packet_generic::{
    GenlFamily, GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd, nlas::GenlCtrlAttrs},
};
use netlink_packet_wireguard::{WireguardAttribute, WireguardCmd, WireguardMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use nix::errno::Errno;

use netlink::{RequestError, Requests};

/// A socket for the family `wireguard`.
#[derive(Debug)]
pub struct Wireguard {
    requests: Requests<GenlMessage<WireguardMessage>>,
    /// The number that the kernel gave the family.
    family: u16,
}

impl Wireguard {
    /// Opens the socket in the network namespace of the calling thread.
    pub async fn open() -> Result<Wireguard, RequestError> {
        let closed = |error: std::io::Error| {
            let error = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            RequestError::Refused { error, detail: Some("no generic netlink socket".into()) }
        };
        let control = Requests::<GenlMessage<GenlCtrl>>::open(NETLINK_GENERIC).map_err(closed)?;
        let nlas = vec![GenlCtrlAttrs::FamilyName(WireguardMessage::family_name().into())];
        let request = GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas };
        let answer = control.answer(GenlMessage::from_payload(request)).await?;
        let family = answer.payload.nlas.iter().find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(family) => Some(*family),
            _ => None,
        });
        let requests = Requests::open(NETLINK_GENERIC).map_err(closed)?;
        Ok(Wireguard { requests, family: family.ok_or(RequestError::Unexpected)? })
    }

    /// All attributes of the device; its peers may be in several of them.
    pub async fn device(&self, index: u32) -> Result<Vec<WireguardAttribute>, RequestError> {
        let request = self.message(WireguardCmd::GetDevice, vec![WireguardAttribute::IfIndex(index)]);
        let answers = self.requests.dump(request, |answer| Some(answer.payload.attributes)).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    /// Changes the device.
    pub async fn set(&self, index: u32, attributes: Vec<WireguardAttribute>) -> Result<(), RequestError> {
        let attributes = [vec![WireguardAttribute::IfIndex(index)], attributes].concat();
        self.requests.acknowledge(self.message(WireguardCmd::SetDevice, attributes), 0).await
    }

    fn message(
        &self,
        cmd: WireguardCmd,
        attributes: Vec<WireguardAttribute>,
    ) -> GenlMessage<WireguardMessage> {
        let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
        message.set_resolved_family_id(self.family);
        message
    }
}
