//! `/images/CHANNEL/BOARD/VERSION/FILE`: image files of the versions that a channel has or had, under their own names and
//! under those that CoreOS gave them, with `version.txt` and `FILE.DIGESTS`. Of the server's own application.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::{HeaderMap, Method, StatusCode};
use release::{FileName, ImageFile, classic_names};
use rollout::{Image, Package};
use semver::Version;

use crate::body::{HttpResponse, text};
use crate::channel_images::{CURRENT, ChannelImages, NoImages, not_found};
use crate::download::{ServedFile, redirect, serve};
use crate::image_store::DIGESTS;
use crate::metadata::release_id;
use crate::server::Server;
use crate::vagrant::{CATALOGS, catalog_of};

const VERSION_FILE: &str = "version.txt";
const DIGESTS_SUFFIX: &str = ".DIGESTS";

/// What a path names.
#[derive(Debug)]
enum Found {
    Text(String),
    Catalog(serde_json::Value),
    File { path: std::path::PathBuf, etag: String },
    Elsewhere(String),
}

/// `parameters`: channel, board, version, file. `base`: the URL of this server.
pub async fn image(
    server: &Arc<Server>,
    parameters: &[&str],
    (method, headers): (&Method, &HeaderMap),
    base: &str,
) -> HttpResponse {
    let [channel, board, version, file] = parameters else { return not_found("no such file") };
    let found = find(server, [channel, board, version, file], base);
    let mut response = match found {
        Err(why) => return not_found(why),
        Ok(Found::Text(content)) => return text(StatusCode::OK, content),
        Ok(Found::Catalog(catalog)) => return crate::body::json(StatusCode::OK, &catalog),
        Ok(Found::Elsewhere(url)) => redirect(&url),
        Ok(Found::File { path, etag }) => {
            let file = ServedFile { path, etag: Some(etag), readers: &server.image_readers };
            serve(server, file, method, headers).await
        }
    };
    if *version == CURRENT {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    }
    response
}

fn find(server: &Server, [channel, board, version, name]: [&str; 4], base: &str) -> Result<Found, NoImages> {
    let state = server.state.lock();
    let channel = ChannelImages::find(&state, &server.settings.app.id, channel, board)?;
    let package = channel.version(version)?;
    if name == VERSION_FILE {
        return Ok(Found::Text(version_file(&package.version)));
    }
    if CATALOGS.contains(&name) {
        let only = (version != CURRENT).then_some(&package.version);
        return Ok(Found::Catalog(catalog_of(server, &channel, only, base)));
    }
    let images = channel.images(server, package);
    if images.is_empty() {
        return Err(NoImages::None { channel: channel.name(), version: package.version.clone() });
    }
    let (of, is_digests) = match name.strip_suffix(DIGESTS_SUFFIX) {
        Some(of) => (of, true),
        None => (name, false),
    };
    let missing = || NoImages::File {
        channel: channel.name(),
        version: package.version.clone(),
        files: images.iter().map(|image| image.file.name.clone()).collect(),
    };
    let image = images.iter().find(|image| is_named(package, image, of)).ok_or_else(missing)?;
    if is_digests {
        return digests(image, of).map(Found::Text).ok_or_else(missing);
    }
    if let Some(base) = package.images.as_ref().and_then(|images| images.files_at.as_ref()) {
        return Ok(Found::Elsewhere(omaha::file_url(base, &image.file.name)));
    }
    let name: FileName = image.file.name.parse().map_err(|_| missing())?;
    let path = server.images.path(&release_id(channel.key, package), &name);
    Ok(Found::File { path, etag: format!("\"{}\"", image.file.sha256) })
}

/// Whether a file of a version has this name, or CoreOS gave it this one.
fn is_named(package: &Package, image: &Image, name: &str) -> bool {
    image.file.name == name
        || classic(package, image).is_some_and(|names| names.iter().any(|one| one == name))
}

/// CoreOS's names of a file.
pub fn classic(package: &Package, image: &Image) -> Option<Vec<String>> {
    let file = ImageFile {
        name: image.file.name.parse().ok()?,
        channel: image.channel.clone(),
        format: image.format.clone(),
        size: image.file.size,
        sha256: image.file.sha256.parse().ok()?,
        virtual_size: 0,
    };
    Some(classic_names(&package.version, &file))
}

/// A file for shells, as CoreOS's build wrote it.
fn version_file(version: &Version) -> String {
    let Version { major, minor, patch, .. } = version;
    format!(
        "COREOS_BUILD={major}\nCOREOS_BRANCH={minor}\nCOREOS_PATCH={patch}\nCOREOS_VERSION={version}\n\
         COREOS_VERSION_ID={version}\nCOREOS_BUILD_ID=\"\"\n"
    )
}

/// Gentoo's format: for each algorithm a comment, and a line of `md5sum`, `sha1sum` or `sha512sum`.
fn digests(image: &Image, name: &str) -> Option<String> {
    let mut text = String::new();
    for algorithm in DIGESTS {
        let digest = image.digests.get(algorithm)?;
        writeln!(text, "# {} HASH\n{digest}  {name}", algorithm.to_ascii_uppercase()).ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_syntax_of_coreos() {
        let expected = "COREOS_BUILD=1068\nCOREOS_BRANCH=8\nCOREOS_PATCH=0\nCOREOS_VERSION=1068.8.0\n\
                        COREOS_VERSION_ID=1068.8.0\nCOREOS_BUILD_ID=\"\"\n";
        assert_eq!(version_file(&Version::new(1068, 8, 0)), expected);
        let file = rollout::File { name: "a".into(), size: 1, sha256: "00".into(), sha1: String::new() };
        let mut image =
            Image { file, channel: "alpha".into(), format: "raw".into(), digests: Default::default() };
        assert_eq!(digests(&image, "b"), None, "of a file on another server");
        for (name, digest) in DIGESTS.iter().zip(["11", "22", "33"]) {
            image.digests.insert((*name).to_owned(), digest.to_owned());
        }
        let expected = "# MD5 HASH\n11  b\n# SHA1 HASH\n22  b\n# SHA512 HASH\n33  b\n";
        assert_eq!(digests(&image, "b").as_deref(), Some(expected));
    }
}
