//! Published versions.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod support;

use support::{initial_state, package};

/// Files that another server has are not hashed again, so their SHA-1 is unknown.
#[test]
fn files_of_a_version_move_to_another_server_and_back() {
    let mut state = initial_state();
    let package = |sha1: &str, files_at: Option<&str>| {
        let mut package = package("5.0.0");
        package.payload.sha1 = sha1.to_owned();
        package.files_at = files_at.map(str::to_owned);
        package
    };
    for (sha1, files_at) in
        [("", Some("http://cdn/")), ("c2hhMQ==", None), ("", Some("http://cdn/")), ("", None)]
    {
        state.add_package("keelson", package(sha1, files_at)).unwrap();
    }
    let mut other = package("", None);
    other.payload.size += 1;
    assert!(state.add_package("keelson", other).is_err());
    assert!(state.add_package("keelson", package("b3RoZXI=", None)).is_err(), "the SHA-1 is kept");
}
