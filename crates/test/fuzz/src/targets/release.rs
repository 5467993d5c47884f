//! Files that a server delivers with a response: `release.json`, what a channel has, and files of keys.

use release::{Release, SecretKeyHeader, public_key};
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
    [release.as_str(), CHANNEL, KEY].map(|text| text.as_bytes().to_vec()).to_vec()
}
