//! TLS settings of clients and of peers: complete, or refused with what is missing.

use std::path::PathBuf;

use super::error::CheckError;
use crate::config::Tls;
use crate::low::Low;
use crate::url::Url;

/// The flags of one side.
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

pub fn tls(low: &Low, names: &Names, warnings: &mut Vec<String>) -> Result<Tls, CheckError> {
    let path = |name| low.text(name).map(PathBuf::from);
    let mut tls = Tls {
        cert_file: path(names.cert),
        key_file: path(names.key),
        trusted_ca_file: path(names.trusted).or_else(|| path(names.both)),
        client_cert_auth: low.switch(names.auth) || low.is_set(names.both),
        auto: low.switch(names.auto),
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

/// https needs a certificate; http leaves one unused, and says so.
pub fn check_listeners(urls: &[Url], tls: &Tls, names: &Names) -> Result<Vec<String>, CheckError> {
    let mut warnings = Vec::new();
    for url in urls {
        if url.scheme.is_tls() && !tls.is_set() {
            return Err(CheckError::NoCertificate(url.clone(), names.cert, names.key));
        }
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
