//! `-auto-tls` and `-peer-auto-tls`: creates a self-signed certificate if none is configured, at the first start, in
//! the data directory's `fixtures/client` and `fixtures/peer`.

use std::net::IpAddr;

use anyhow::Context;
use authority::Subject;
use etcd_config::config::Tls;
use etcd_config::{Config, Url};

/// Returns the configuration with these certificates. The data directory must exist.
pub fn with_certificates(config: &Config) -> anyhow::Result<Config> {
    let mut result = config.clone();
    let client_urls = [&config.listen_client, &config.advertise_client, &config.listen_metrics];
    create(&mut result.client_tls, config, "client", &client_urls)?;
    create(&mut result.peer_tls, config, "peer", &[&config.listen_peer, &config.advertise_peer])?;
    Ok(result)
}

fn create(tls: &mut Tls, config: &Config, side: &str, urls: &[&Vec<Url>]) -> anyhow::Result<()> {
    if !tls.auto {
        return Ok(());
    }
    let folder = config.data_dir.join("fixtures").join(side);
    let subject = subject(&config.name, urls.iter().copied().flatten());
    let pair = authority::self_signed(&folder, &subject)
        .with_context(|| format!("a certificate for {side}s in {}", folder.display()))?;
    (tls.cert_file, tls.key_file) = (Some(pair.certificate), Some(pair.key));
    Ok(())
}

/// All specific hosts and addresses of the URLs.
fn subject<'a>(name: &str, urls: impl Iterator<Item = &'a Url>) -> Subject {
    let mut subject = Subject { name: name.to_owned(), host_names: Vec::new(), addresses: Vec::new() };
    for url in urls.filter(|url| !url.host.is_empty()) {
        match url.host.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || subject.addresses.contains(&address) => {}
            Ok(address) => subject.addresses.push(address),
            Err(_) if subject.host_names.contains(&url.host) => {}
            Err(_) => subject.host_names.push(url.host.clone()),
        }
    }
    subject
}
