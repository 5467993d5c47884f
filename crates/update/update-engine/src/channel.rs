//! The repository's metadata, which each check verifies even if there is no update: otherwise whoever answers for the
//! server could hide newer releases.

use omaha::ErrorCode;
use tuf::{Client, Fetch, Store, Targets, Trusted};
use update_core::repository::{ChannelTarget, channel_target};
use update_core::trust::RootInForce;

use crate::attempt::{Updater, state_failed};
use crate::error::{Failure, Kind, code};
use crate::http::HttpClient;
use crate::origin::Origin;
use crate::settings::Settings;
use crate::trust_store::{TrustStore, client, refused};

/// The path of the Omaha endpoint, below the URL of a channel server.
const ENDPOINT: &str = "/v1/update";

/// What verified metadata says.
#[derive(Debug, Clone)]
pub(crate) struct Confirmed {
    /// All releases.
    pub targets: Targets,
    /// What the machine's channel has, if anything.
    pub channel: Option<ChannelTarget>,
    /// The root in force.
    pub root: RootInForce,
}

impl Updater {
    /// Fetches and verifies the metadata of the machine's product, and records how recent it is.
    ///
    /// # Errors
    /// The server has none, or it is not acceptable.
    pub(crate) fn confirm_channel(
        &self,
        http: &HttpClient,
        server: &str,
        settings: &Settings,
    ) -> Result<Confirmed, Failure> {
        let Some(url) = metadata_url(server, &self.identity.appid) else {
            let message =
                format!("{server} is not the URL of a channel server: it does not end with {ENDPOINT}/");
            return Err(Failure::text(Kind::Transient, ErrorCode::DOWNLOAD_TRANSFER, message));
        };
        let origin = Origin::Server { http: http.clone(), code_bases: vec![url] };
        let clock = self.clock();
        let mut client = client(&origin, TrustStore::open(&self.paths, settings)?, clock);
        let (trusted, channel) = refresh(&mut client, &settings.group, &self.identity.board)?;
        let root = client.into_store().in_force();
        self.record_root(root)?;
        if !clock.is_wrong() {
            let expires = u64::try_from(trusted.timestamp.header.expires.unix()).unwrap_or(0);
            let version = channel.as_ref().map(|channel| &channel.version);
            self.state
                .update_freshness(|freshness| freshness.confirm(expires, version))
                .map_err(state_failed)?;
        }
        Ok(Confirmed { targets: trusted.targets, channel, root })
    }
}

/// Updates all metadata, and finds what a channel has, if anything.
pub(crate) fn refresh(
    client: &mut Client<impl Fetch, impl Store>,
    channel: &str,
    board: &str,
) -> Result<(Trusted, Option<ChannelTarget>), Failure> {
    let trusted = client.refresh().map_err(refused)?;
    let path = channel_target(channel, board);
    let target = client.find(&trusted, &path).map_err(refused)?;
    let channel = target.map(|target| ChannelTarget::of(&path, &target.file)).transpose();
    let channel = channel.map_err(|error| Failure::new(Kind::Rejected, code::MANIFEST, &error))?;
    Ok((trusted, channel))
}

/// The URL of a product's metadata, on the server with this Omaha endpoint.
fn metadata_url(server: &str, appid: &str) -> Option<String> {
    let (base, app) = (channel_server(server)?, app_name(appid)?);
    Some(format!("{base}/files/{app}/metadata/"))
}

/// The URL of a channel server, without a final slash, from that of its Omaha endpoint; `None` if it is another server's.
#[must_use]
pub fn channel_server(endpoint: &str) -> Option<&str> {
    endpoint.trim_end_matches('/').strip_suffix(ENDPOINT)
}

/// The name of a product in a channel server's URLs, from its UUID in braces; `None` if it is none.
#[must_use]
pub fn app_name(appid: &str) -> Option<&str> {
    let app = appid.trim_matches(['{', '}']);
    let is_segment = !app.is_empty() && app.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    is_segment.then_some(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_beside_the_endpoint() {
        let of = |server: &str| metadata_url(server, "{6e7f-4b}");
        let expect = Some("https://h:8/x/files/6e7f-4b/metadata/".to_owned());
        assert_eq!(of("https://h:8/x/v1/update/"), expect);
        assert_eq!(of("https://h:8/x/v1/update"), expect);
        assert_eq!(of("https://h:8/x/"), None);
        assert_eq!(metadata_url("https://h:8/v1/update/", "{}"), None);
        assert_eq!(metadata_url("https://h:8/v1/update/", "../x"), None);
    }
}
