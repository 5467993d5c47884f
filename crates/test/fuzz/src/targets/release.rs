//! Files that a server delivers: `release.json`, `images.json`, what a channel has, and files of keys.

use release::{ImageList, Release, SecretKeyHeader, classic_names, image_name, public_key};
use tuf::TargetFile;
use update_core::repository::ChannelTarget;

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "release",
    about: "metadata gives a value that is written and read as itself, or an error with its place",
    run,
    seeds,
};

const KEY: &str = "untrusted comment: minisign public key E7620F1842B4E81F\n\
                   RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";
const CHANNEL: &str =
    r#"{"length":1,"hashes":{"sha256":"00"},"custom":{"version":"1.2.3","floors":["1.0.0"]}}"#;

fn run(bytes: &[u8]) {
    if let Ok(release) = Release::parse(bytes) {
        assert_eq!(release.to_bytes().and_then(|bytes| Release::parse(&bytes)), Ok(release));
    }
    if let Ok(list) = ImageList::parse(bytes) {
        for file in &list.files {
            assert!(file.name.as_str().starts_with(&image_name(&list.version, &file.channel)));
            assert_eq!(list.file(file.name.as_str()), Some(file), "names are unique");
            let classic = classic_names(&list.version, file);
            assert!(classic.iter().all(|name| name.starts_with("coreos_production_")));
        }
        assert_eq!(list.to_bytes().and_then(|bytes| ImageList::parse(&bytes)), Ok(list));
    }
    if let Ok(file) = serde_json::from_slice::<TargetFile>(bytes)
        && let Ok(channel) = ChannelTarget::of("channels/a/b", &file)
    {
        assert!(channel.offers(&channel.version) && channel.floors.iter().all(|floor| channel.offers(floor)));
    }
    let text = String::from_utf8_lossy(bytes);
    // An invalid key is an error; a valid one has no use here.
    drop(public_key("a stranger's", &text));
    assert!(SecretKeyHeader::of_file(&text).is_none_or(|header| !header.comment.contains('\n')));
}

fn seeds() -> Vec<Vec<u8>> {
    let digest = "ab".repeat(32);
    let blob = |name: &str| format!(r#"{{"url":"{name}","size":1,"sha256":"{digest}"}}"#);
    let payload = |name: &str| {
        format!(r#"{{"blob":{},"index":{},"algo":"zstd-segments"}}"#, blob(name), blob(&format!("{name}.i")))
    };
    let release = format!(
        r#"{{"schema":1,"appid":"{{x}}","board":"b","channels":["alpha"],"version":"1.2.3","epoch":0,"build_time":1,
        "expires":2,"images":[{{"role":"usr","size":1,"sha256":"{digest}","verity":{{"root_hash":"{digest}",
        "salt":"{digest}","uuid":"u"}}}},{{"role":"uki","size":1,"sha256":"{digest}"}}],"full":{},
        "deltas":[{{"from_version":"1.0.0","from_sha256":"{digest}","from_root_hash":"{digest}","payload":{}}}]}}"#,
        payload("full"),
        payload("delta")
    );
    let image = |suffix: &str| {
        format!(
            r#"{{"name":"keelson-1.2.3-a{suffix}","channel":"a","format":"f","size":1,"sha256":"{digest}","virtual_size":1}}"#
        )
    };
    let images = format!(
        r#"{{"schema":1,"board":"b","version":"1.2.3","root_hash":"{digest}","files":[{},{}]}}"#,
        image(".raw.zst"),
        image("-vagrant-virtualbox.box")
    );
    [release.as_str(), images.as_str(), CHANNEL, KEY].map(|text| text.as_bytes().to_vec()).to_vec()
}
