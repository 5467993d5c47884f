//! Amazon EC2 and compatible services (contract 5.5).

use cloudinit::metadata::Metadata;
use cloudinit::provider::ec2::{self, Responses};

use super::super::error::DatasourceError;
use super::access::{Access, TokenRules};
use super::protocol::Protocol;
use super::session::Session;

pub(super) const PROTOCOL: Protocol = Protocol {
    kind: "ec2-metadata-service",
    probe: "2009-04-04/",
    access: Access {
        headers: &[],
        token: Some(TokenRules {
            path: "latest/api/token",
            request_header: ("X-aws-ec2-metadata-token-ttl-seconds", "21600"),
            token_header: "X-aws-ec2-metadata-token",
        }),
    },
    user_data,
    metadata,
};

/// The first version has no IPv6.
const IPV6_FOLDERS: [&str; 2] = ["latest/meta-data", "2009-04-04/meta-data"];

fn user_data(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    Ok(session.user_data("2009-04-04/user-data")?.unwrap_or_default())
}

fn metadata(session: &Session) -> Result<Metadata, DatasourceError> {
    let item = |name: &str| session.item(&format!("2009-04-04/meta-data/{name}"));
    let mut keys = Vec::new();
    for key in ec2::key_names(&item("public-keys")?)? {
        keys.push((key.name, item(&format!("public-keys/{}/openssh-key", key.id))?));
    }
    // Compatible services may have neither, and answer with an error.
    let for_optional = session.for_optional();
    let instance =
        session.optional("the instance's identity", for_optional.item("2009-04-04/meta-data/instance-id"));
    let ipv6 = session.optional("the IPv6 address", ipv6(&for_optional));
    Ok(ec2::metadata(&Responses {
        instance,
        hostname: item("hostname")?,
        local_ipv4: item("local-ipv4")?,
        public_ipv4: item("public-ipv4")?,
        ipv6,
        keys,
    }))
}

/// The instance's address, else that of the first interface with one.
fn ipv6(session: &Session) -> Result<Vec<u8>, DatasourceError> {
    for folder in IPV6_FOLDERS {
        let address = session.item(&format!("{folder}/ipv6"))?;
        if !address.is_empty() {
            return Ok(address);
        }
        let interfaces = format!("{folder}/network/interfaces/macs/");
        for interface in ec2::interfaces(&session.item(&interfaces)?) {
            let addresses = session.item(&format!("{interfaces}{interface}/ipv6s"))?;
            if !addresses.is_empty() {
                return Ok(addresses);
            }
        }
    }
    Ok(Vec::new())
}
