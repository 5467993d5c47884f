//! The stored copy of Debian's security tracker data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use image::resolve::SUITE;
use jiff::{SignedDuration, Timestamp};
use security_tracker::{Copy, Feed, limits};
use serde_json::{Value, json};
use ureq::Agent;

use crate::context::Context;
use crate::update_server::tls_config;

/// What debsecan downloads, too.
pub const URL: &str = "https://security-tracker.debian.org/tracker/debsecan/release/1/";
/// In the state folder.
const FOLDER: &str = "security-tracker";
/// Older data causes a warning.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Tolerated difference between clocks.
const MAX_AHEAD: SignedDuration = SignedDuration::from_hours(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// No data was downloaded yet.
#[derive(Debug, thiserror::Error)]
#[error("there is no data of Debian's security tracker in {}", .0.display())]
pub struct NoData(PathBuf);

/// A feed and its date.
pub struct Data {
    pub feed: Feed,
    pub date: Timestamp,
    pub path: PathBuf,
}

/// Where `--refresh` stores the data.
pub fn path(context: &Context) -> PathBuf {
    context.state_dir.join(FOLDER).join(SUITE)
}

/// Reads a copy, or a feed as debsecan downloads it, which has the date of its file.
pub fn read(path: &Path) -> anyhow::Result<Data> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(NoData(path.into()).into()),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let malformed = || format!("{} is no data of Debian's security tracker", path.display());
    let (compressed, date) = if Copy::is_copy(&bytes) {
        let copy = Copy::read(&bytes).with_context(malformed)?;
        if copy.release != SUITE {
            bail!("{} is for {}: the images are {SUITE}", path.display(), copy.release);
        }
        (copy.feed, copy.date)
    } else {
        let modified = path.metadata().and_then(|data| data.modified()).ok();
        let date = modified.and_then(|time| Timestamp::try_from(time).ok());
        (bytes, date.with_context(|| format!("{} has no date", path.display()))?)
    };
    Ok(Data { feed: Feed::read(&compressed).with_context(malformed)?, date, path: path.into() })
}

/// Downloads the data, and replaces the stored copy if the data is valid.
pub fn refresh(context: &Context, source: &str) -> anyhow::Result<Data> {
    let url = format!("{}/{SUITE}", source.trim_end_matches('/'));
    let step = context.progress.step("download");
    step.set(format!("{url} (at most {} min)", DOWNLOAD_TIMEOUT.as_secs() / 60));
    let (compressed, modified) = download(&url).with_context(|| format!("cannot download {url}"))?;
    let feed = Feed::read(&compressed)
        .with_context(|| format!("{url} did not respond with data of Debian's security tracker"))?;
    if feed.is_empty() {
        bail!("the data at {url} has no vulnerabilities: the stored copy is kept");
    }
    // A mirror may be old.
    let date = modified.into_iter().chain([Timestamp::now()]).min().unwrap_or_default();
    let (path, bytes) = (path(context), compressed.len());
    let copy = Copy { release: SUITE.into(), date, url, feed: compressed };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    service::file::replace(&path, &copy.write(), 0o644)
        .with_context(|| format!("cannot write {}", path.display()))?;
    step.done(&format!("{} vulnerabilities, {} KiB", feed.len(), bytes.div_ceil(1024)));
    Ok(Data { feed, date, path })
}

/// The data, and its `Last-Modified`.
fn download(url: &str) -> anyhow::Result<(Vec<u8>, Option<Timestamp>)> {
    let agent: Agent = Agent::config_builder()
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(Some(DOWNLOAD_TIMEOUT))
        // No redirection to an unencrypted URL.
        .https_only(url.starts_with("https:"))
        .tls_config(tls_config(url)?)
        .build()
        .new_agent();
    let mut response = agent.get(url).call()?;
    let modified = response.headers().get("Last-Modified").and_then(|value| value.to_str().ok());
    let modified = modified.and_then(|date| Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp()));
    let body = response.body_mut().with_config().limit(limits::COMPRESSED_BYTES as u64);
    Ok((body.read_to_vec()?, modified))
}

impl Data {
    /// A warning if the data is too old, or its date wrong.
    pub fn warning(&self, now: Timestamp) -> Option<String> {
        let age = now.duration_since(self.date);
        if age > MAX_AGE {
            let days = age.as_hours() / 24;
            return Some(format!(
                "warning: the data is {days} days old, newer vulnerabilities are not reported: keelson image cves --refresh"
            ));
        }
        let ahead = -age;
        (ahead > MAX_AHEAD)
            .then(|| format!("warning: the data is of {}, in the future: its age is not known", self.day()))
    }

    /// `2026-11-27`, in UTC.
    pub fn day(&self) -> String {
        self.date.strftime("%Y-%m-%d").to_string()
    }

    pub fn json(&self, now: Timestamp) -> Value {
        json!({
            "release": SUITE, "date": self.date, "outdated": self.warning(now).is_some(),
            "vulnerabilities": self.feed.len(), "path": self.path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_future_data_causes_a_warning() {
        let date: Timestamp = "2026-11-20T00:00:00Z".parse().unwrap();
        let data = Data { feed: Feed::default(), date, path: PathBuf::new() };
        let check = |now: &str, expect: Option<&str>| {
            let warning = data.warning(now.parse().unwrap());
            let fits = expect
                .map_or(warning.is_none(), |part| warning.as_ref().is_some_and(|text| text.contains(part)));
            assert!(fits, "{now}: {warning:?}");
        };
        check("2026-11-20T00:00:00Z", None);
        check("2026-11-27T00:00:00Z", None);
        check("2026-11-27T00:00:01Z", Some("7 days old"));
        check("2027-11-20T00:00:00Z", Some("365 days old"));
        check("2026-11-19T23:00:00Z", None);
        check("2026-11-19T22:00:00Z", Some("2026-11-20, in the future"));
    }
}
