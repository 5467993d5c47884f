//! Settings of dnsmasq that refer machines to this server, for hosts where it does not answer DHCP itself.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::dhcp::reply::{SCRIPT_PATH, Server};
use crate::interface::Interface;

/// The port of TFTP, which firmware always uses.
pub const TFTP_PORT: u16 = 69;

/// Lines for `/etc/dnsmasq.d`. With another port than 69 for TFTP dnsmasq serves the loaders itself, from `ipxe`.
#[must_use]
pub fn settings(server: &Server, interface: &Interface, tftp_port: u16, ipxe: &Path) -> String {
    let network = Ipv4Addr::from(u32::from(interface.address) & u32::from(interface.mask));
    let mut lines = vec![
        format!("# Machines of {} boot from {}.", interface.name, server.url),
        "# No DNS: remove this line if dnsmasq is the network's DNS server.".to_owned(),
        "port=0".to_owned(),
        "# A proxy beside the network's DHCP server: replace it by a range if dnsmasq is the DHCP server."
            .to_owned(),
        format!("dhcp-range={network},proxy"),
        "# Without it a proxy does not answer.".to_owned(),
        "pxe-prompt=\"PXE\",0".to_owned(),
        "dhcp-userclass=set:ipxe,iPXE".to_owned(),
        "dhcp-match=set:bios,option:client-arch,0".to_owned(),
    ];
    lines.extend([6, 7, 9].map(|number| format!("dhcp-match=set:efi,option:client-arch,{number}")));
    let own = server.address;
    lines.push(format!("dhcp-boot=tag:ipxe,{}{SCRIPT_PATH},{own},{own}", server.url));
    let from = if tftp_port == TFTP_PORT { format!(",{own},{own}") } else { String::new() };
    for (tag, loader) in [("bios", &server.bios_loader), ("efi", &server.efi_loader)] {
        match loader {
            Some(loader) => lines.push(format!("dhcp-boot=tag:!ipxe,tag:{tag},{loader}{from}")),
            None => lines.push(format!("# {} has no loader for {}.", ipxe.display(), tag.to_uppercase())),
        }
    }
    if tftp_port != TFTP_PORT {
        lines.push("enable-tftp".to_owned());
        lines.push(format!("tftp-root={}", ipxe.display()));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let server = Server {
            address: Ipv4Addr::new(10, 9, 0, 1),
            url: "http://10.9.0.1:8042".to_owned(),
            bios_loader: Some("undionly.kpxe".to_owned()),
            efi_loader: None,
        };
        let interface = Interface {
            name: "eth0".to_owned(),
            address: server.address,
            mask: Ipv4Addr::new(255, 255, 0, 0),
        };
        let check = |tftp_port, parts: &[&str], not: &str| {
            let text = settings(&server, &interface, tftp_port, Path::new("/usr/lib/ipxe"));
            for part in parts {
                assert!(text.lines().any(|line| line == *part), "{part}: {text}");
            }
            assert!(!text.contains(not), "{text}");
        };
        check(
            69,
            &[
                "dhcp-range=10.9.0.0,proxy",
                "dhcp-boot=tag:ipxe,http://10.9.0.1:8042/boot.ipxe,10.9.0.1,10.9.0.1",
                "dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe,10.9.0.1,10.9.0.1",
                "# /usr/lib/ipxe has no loader for EFI.",
            ],
            "enable-tftp",
        );
        check(
            6969,
            &["dhcp-boot=tag:!ipxe,tag:bios,undionly.kpxe", "enable-tftp", "tftp-root=/usr/lib/ipxe"],
            "undionly.kpxe,10.9.0.1",
        );
    }
}
