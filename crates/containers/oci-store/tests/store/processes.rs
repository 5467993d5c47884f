//! Programs in the place of the one that decompresses.

use std::fs;
use std::io::Cursor;

use oci_store::{Decompression, Store};

use crate::images::{config, docker_archive, gzip, import_options, layer};

/// Whatever it does, nothing enters the store.
#[test]
fn a_process_that_fails_is_an_error() {
    for (program, expected) in [
        ("/bin/false", "was ended"),
        ("/bin/cat", "gzip"),
        ("/bin/true", "neither an OCI layout"),
        ("/none", "No such file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let store = store.with_decompression(Decompression::Process(program.into()));
        let layers = [layer(&["f a 1"])];
        let archive = gzip(&docker_archive(&config(&layers), &layers, &[]));
        let error = store.import_archive(Cursor::new(archive), &import_options()).unwrap_err();
        let text = service::error::chain(&error);
        assert!(text.contains(expected), "{program}: {text}");
        assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);
    }
}
