//! Files that a server delivers with a response: metadata, signatures and keys.

use release::{Keys, Release, Timestamp};

use crate::target::Target;

pub const TARGET: Target = Target {
    name: "release",
    about: "metadata gives a value that is written and read as itself, or an error with its place; no signature holds",
    run,
    seeds,
};

const KEY: &str = "untrusted comment: minisign public key E7620F1842B4E81F\n\
                   RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n";

fn run(bytes: &[u8]) {
    if let Ok(release) = Release::parse(bytes) {
        assert_eq!(release.to_bytes().and_then(|bytes| Release::parse(&bytes)), Ok(release));
    }
    if let Ok(timestamp) = Timestamp::parse(bytes) {
        assert_eq!(timestamp.to_bytes().and_then(|bytes| Timestamp::parse(&bytes)), Ok(timestamp));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut keys = Keys::default();
    // An invalid key is an error; a valid one has no use here.
    drop(keys.add("a stranger's", &text));
    let mut keys = Keys::default();
    let known = keys.add("known", KEY);
    assert!(known.is_ok(), "{known:?}");
    assert!(keys.verify(b"what nobody signed", &text).is_err());
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
    let timestamp = format!(
        r#"{{"schema":1,"channel":"alpha","version":"1.2.3","release_sha256":"{digest}","issued":1,"expires":2}}"#
    );
    let signature = "untrusted comment: u\nRUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\ntrusted comment: t\n";
    [release.as_str(), &timestamp, signature, KEY].map(|text| text.as_bytes().to_vec()).to_vec()
}
