//! The libFuzzer target: libFuzzer provides `main`, and calls the target named by `KEELSON_FUZZ_TARGET`.

#![no_main]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "whoever starts it reads why it ended")]

use std::path::PathBuf;
use std::sync::OnceLock;

use fuzz::{Target, named};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<&Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("KEELSON_FUZZ_TARGET").expect("KEELSON_FUZZ_TARGET names a target");
    let target = named(&name).unwrap_or_else(|| panic!("there is no target {name}"));
    // Before libFuzzer reads its corpus folders.
    if let Some(folder) = std::env::var_os("KEELSON_FUZZ_SEEDS").map(PathBuf::from) {
        for (number, bytes) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), bytes).expect("a seed is written");
        }
    }
    CHOSEN.get_or_init(|| target);
}

fuzz_target!(init: choose(), |bytes: &[u8]| {
    (CHOSEN.get().expect("chosen at start").run)(bytes);
});
