//! Image files of a version, as `keelson publish` sends them.

use minisign::KeyPair;
use release::{Digest, ImageFile, ImageList, SCHEMA, Version};
use update_core::repository::{add_images, next_targets};

use super::{HttpReply, Server, targets};

/// Suffix and format of the files of a version.
pub const FORMATS: [(&str, &str); 3] =
    [(".raw.zst", "raw.zst"), ("-vagrant-virtualbox.box", "box"), ("-vagrant-libvirt.box", "box-libvirt")];

pub fn content(name: &str) -> Vec<u8> {
    format!("the file {name}\n").repeat(1000).into_bytes()
}

/// The list of a version, with files for these channels.
pub fn image_list(version: &str, channels: &[&str]) -> ImageList {
    let version: Version = version.parse().unwrap();
    let file = |channel: &str, (suffix, format): (&str, &str)| {
        let name = format!("keelson-{version}-{channel}{suffix}");
        let bytes = content(&name);
        ImageFile {
            name: name.parse().unwrap(),
            channel: channel.to_owned(),
            format: format.to_owned(),
            size: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            virtual_size: 4096,
        }
    };
    let files = channels.iter().flat_map(|channel| FORMATS.map(|format| file(channel, format))).collect();
    let root_hash = Digest([2; 32]);
    ImageList { schema: SCHEMA, board: "amd64-usr".to_owned(), version, root_hash, files }
}

impl Server {
    pub fn upload_image(&self, version: &str, name: &str, bytes: &[u8]) -> HttpReply {
        let path = format!("/api/apps/keelson/images/amd64/{version}/{name}");
        self.raw("PUT", &path, &format!("Authorization: Bearer {}\r\n", self.admin()), bytes)
    }

    /// Publishes targets metadata that lists the images, too.
    pub fn list_images(&self, list: &ImageList, keys: &KeyPair) {
        let root = targets::newest_root(self).unwrap();
        let mut next = next_targets(&root, targets::stored(self).as_ref()).unwrap();
        add_images(&mut next, list, &list.to_bytes().unwrap()).unwrap();
        let reply = targets::publish(self, &targets::signed(&next, &root, keys));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    pub fn send_images(&self, version: &str) -> HttpReply {
        self.as_admin("POST", &format!("/api/apps/keelson/packages/{version}/images"), "")
    }

    /// Lists, uploads and publishes the images of a published version.
    pub fn publish_images(&self, version: &str, channels: &[&str], keys: &KeyPair) {
        let list = image_list(version, channels);
        self.list_images(&list, keys);
        assert_eq!(self.upload_image(version, "images.json", &list.to_bytes().unwrap()).status, 200);
        for file in &list.files {
            let reply = self.upload_image(version, file.name.as_str(), &content(file.name.as_str()));
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let reply = self.send_images(version);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
