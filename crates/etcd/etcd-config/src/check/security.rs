//! Validates the TLS settings of client and peer traffic.

use std::net::IpAddr;
use std::path::PathBuf;

use super::error::CheckError;
use crate::config::Tls;
use crate::raw_config::RawConfig;
use crate::url::{Scheme, Url};

/// The flags of client or peer traffic.
pub struct Names {
    pub side: &'static str,
    pub cert: &'static str,
    pub key: &'static str,
    pub trusted: &'static str,
    pub auth: &'static str,
    pub both: &'static str,
    pub auto: &'static str,
}

pub const CLIENT: Names = Names {
    side: "client",
    cert: "cert-file",
    key: "key-file",
    trusted: "trusted-ca-file",
    auth: "client-cert-auth",
    both: "ca-file",
    auto: "auto-tls",
};

pub const PEER: Names = Names {
    side: "peer",
    cert: "peer-cert-file",
    key: "peer-key-file",
    trusted: "peer-trusted-ca-file",
    auth: "peer-client-cert-auth",
    both: "peer-ca-file",
    auto: "peer-auto-tls",
};

pub fn tls(raw: &RawConfig, names: &Names, warnings: &mut Vec<String>) -> Result<Tls, CheckError> {
    let path = |name| raw.text(name).map(PathBuf::from);
    let mut tls = Tls {
        cert_file: path(names.cert),
        key_file: path(names.key),
        trusted_ca_file: path(names.trusted).or_else(|| path(names.both)),
        client_cert_auth: raw.switch(names.auth) || raw.is_set(names.both),
        auto: raw.switch(names.auto),
    };
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        return Err(CheckError::CertificateAndKey(names.cert, names.key));
    }
    if tls.client_cert_auth && tls.trusted_ca_file.is_none() {
        return Err(CheckError::NoAuthority(names.auth, names.trusted));
    }
    if tls.auto && tls.cert_file.is_some() {
        warnings.push(format!("ignoring {} auto TLS since certs given", names.side));
        tls.auto = false;
    }
    Ok(tls)
}

/// https requires a certificate.
pub fn check_certificate(urls: &[Url], tls: &Tls, names: &Names) -> Result<(), CheckError> {
    match urls.iter().find(|url| url.scheme.is_tls() && !tls.is_set()) {
        Some(url) => Err(CheckError::NoCertificate(url.clone(), names.cert, names.key)),
        None => Ok(()),
    }
}

/// https requires a certificate; for http an unused certificate is a warning.
pub fn check_listeners(urls: &[Url], tls: &Tls, names: &Names) -> Result<Vec<String>, CheckError> {
    check_certificate(urls, tls, names)?;
    let mut warnings = Vec::new();
    for url in urls {
        if !url.scheme.is_tls() && tls.cert_file.is_some() {
            warnings.push(format!(
                "The scheme of url {url} is http while -{} and -{} are given. Ignored them for it.",
                names.cert, names.key
            ));
        }
        if !url.scheme.is_tls() && tls.client_cert_auth {
            warnings.push(format!(
                "The scheme of url {url} is http while -{} is given. Ignored it for this url.",
                names.auth
            ));
        }
    }
    Ok(warnings)
}

/// With plain HTTP on a public address, anyone who reaches the port can vote and append to the log.
pub fn check_public_peers(urls: &[Url]) -> Vec<String> {
    let is_public = |url: &&Url| url.scheme == Scheme::Http && url.host.parse().is_ok_and(is_public);
    let warning = |url: &Url| {
        format!(
            "{url} is advertised to the other members, without TLS and at no private address: whoever reaches it can read and \
             change all keys. Use https with -{}, -{}, -{} and -{}.",
            PEER.cert, PEER.key, PEER.trusted, PEER.auth
        )
    };
    urls.iter().filter(is_public).map(warning).collect()
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // RFC 6598: shared address space of carriers.
            let is_shared = first == 100 && second & 0xc0 == 64;
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_documentation()
                || is_shared)
        }
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => is_public(address.into()),
            None => {
                let is_documentation = address.segments()[..2] == [0x2001, 0xdb8];
                !(address.is_loopback()
                    || address.is_unspecified()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
                    || is_documentation)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_without_tls_at_public_addresses_are_warned_of() {
        let warned = |text: &str| !check_public_peers(&[text.parse().unwrap()]).is_empty();
        for public in [
            "http://8.8.8.8:2380",
            "http://172.32.0.1:7001",
            "http://[2a00::1]:2380",
            "http://[::ffff:8.8.8.8]:1",
        ] {
            assert!(warned(public), "{public}");
        }
        for quiet in [
            "https://8.8.8.8:2380",
            "http://10.0.0.1:2380",
            "http://172.17.8.101:7001",
            "http://192.168.1.2:7001",
            "http://100.64.0.1:7001",
            "http://127.0.0.1:7001",
            "http://[fd00::1]:2380",
            "http://[fe80::1]:2380",
            "http://node-1.example:2380",
        ] {
            assert!(!warned(quiet), "{quiet}");
        }
    }
}
