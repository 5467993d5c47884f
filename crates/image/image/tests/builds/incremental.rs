//! Incremental builds: only results with changed inputs are created again.

use std::fs;
use std::sync::OnceLock;

use crate::harness::{Build, Finished, first};

/// A file of os/rootfs that affects `/usr` only, and its path there.
const TOUCHED: &str = "os/rootfs/usr/lib/sysctl.d/50-keelson.conf";
pub const TOUCHED_IN_USR: &str = "lib/sysctl.d/50-keelson.conf";

pub struct Changed {
    pub build: Build,
    pub finished: Finished,
    kinds: Vec<String>,
}

/// The first build with an additional line in one file.
pub fn changed() -> &'static Changed {
    static SHARED: OnceLock<Changed> = OnceLock::new();
    SHARED.get_or_init(|| {
        first();
        let build = Build::resumed("changed", &[]);
        let file = build.checkout.join(TOUCHED);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + "# A line more.\n").unwrap();
        let before = build.results();
        let finished = build.run();
        let after = build.results();
        let changed_results = after.iter().filter(|(result, state)| before.get(*result) != Some(state));
        let kinds = changed_results.map(|(result, _)| result.split('/').next().unwrap().to_owned()).collect();
        Changed { build, finished, kinds }
    })
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_changed_rootfs_file_rebuilds_system_and_disk() {
    let changed = changed();
    assert_eq!(changed.kinds, ["disk", "system", "usr"]);
    assert_ne!(changed.finished.sha256("raw"), first().finished.sha256("raw"));
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn an_incremental_build_equals_a_clean_one() {
    let changed = changed();
    let mut build = Build { out: changed.build.out.with_file_name("anew"), ..changed.build.clone() };
    build.work = changed.build.checkout.join("target/anew");
    assert_eq!(build.run().sha256("raw"), changed.finished.sha256("raw"));
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn nothing_changed_redoes_nothing() {
    let build = Build { out: first().build.out.with_file_name("again"), ..first().build.clone() };
    let before = build.results();
    let finished = Build { formats: "raw", ..build.clone() }.run();
    assert_eq!(build.results(), before);
    assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"));
}
