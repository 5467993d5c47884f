//! The signed timestamp of the machine's channel, which each check verifies even if there is no update: otherwise
//! whoever answers for the server could hide newer releases.

use release::files;
use update_core::trust::{TrustState, UpdateOptions, verify_timestamp};

use crate::attempt::{Updater, rejected, state_failed};
use crate::error::{Failure, Kind};
use crate::http::HttpClient;
use crate::origin::Origin;
use crate::settings::Settings;

/// The path of the Omaha endpoint, below the URL of a channel server.
const ENDPOINT: &str = "/v1/update";

impl Updater {
    /// Fetches and verifies the timestamp of the machine's channel, and follows new roots before. Records it.
    ///
    /// # Errors
    /// The server has none, or it is not acceptable.
    pub(crate) fn confirm_channel(
        &self,
        http: &HttpClient,
        server: &str,
        settings: &Settings,
    ) -> Result<(), Failure> {
        let Some(url) = files_of_channel(server, &self.identity.appid, &settings.group) else {
            let message =
                format!("{server} is not the URL of a channel server: it does not end with {ENDPOINT}/");
            return Err(Failure::text(Kind::Transient, omaha::ErrorCode::DOWNLOAD_TRANSFER, message));
        };
        let origin = Origin::Server { http: http.clone(), code_bases: vec![url] };
        self.follow_roots(&origin)?;
        match self.confirm_by(&origin, settings) {
            // The server may have signed anew between the two requests.
            Err(failure) if failure.is_signature() => self.confirm_by(&origin, settings),
            outcome => outcome,
        }
    }

    fn confirm_by(&self, origin: &Origin, settings: &Settings) -> Result<(), Failure> {
        let timestamp = origin.metadata(files::TIMESTAMP)?;
        let signature = origin.metadata(files::TIMESTAMP_SIGNATURE)?;
        let signature = String::from_utf8_lossy(&signature).into_owned();
        let authorities = self.authorities(settings)?;
        let verify = |state: &mut TrustState| {
            let context = self.verify_context(settings, state.clone(), &[], UpdateOptions::default());
            let verified = verify_timestamp(&timestamp, &signature, &authorities, &context)
                .map_err(|refusal| rejected(&refusal))?;
            state.clone_from(&verified.state);
            Ok(verified)
        };
        let verified = self.state.update_trust_state(verify).map_err(state_failed)??;
        if !verified.clock_is_wrong {
            self.state
                .update_freshness(|freshness| freshness.confirm(&verified.timestamp))
                .map_err(state_failed)?;
        }
        Ok(())
    }
}

/// The URL of the files of a channel, on the server with this Omaha endpoint.
fn files_of_channel(server: &str, appid: &str, channel: &str) -> Option<String> {
    let base = server.trim_end_matches('/').strip_suffix(ENDPOINT)?;
    let app = appid.trim_matches(['{', '}']);
    let is_segment = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:".contains(c))
    };
    (is_segment(app) && is_segment(channel)).then(|| format!("{base}/files/{app}/{channel}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_beside_the_endpoint() {
        let of = |server: &str, channel: &str| files_of_channel(server, "{6e7f-4b}", channel);
        let expect = Some("https://h:8/x/files/6e7f-4b/alpha/".to_owned());
        assert_eq!(of("https://h:8/x/v1/update/", "alpha"), expect);
        assert_eq!(of("https://h:8/x/v1/update", "alpha"), expect);
        assert_eq!(of("https://h:8/x/", "alpha"), None);
        assert_eq!(of("https://h:8/v1/update/", "a/../b"), None);
        assert_eq!(of("https://h:8/v1/update/", ""), None);
    }
}
