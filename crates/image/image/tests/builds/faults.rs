//! Builds on a full disk.

use image::tree::make_folder;

use crate::harness::{Build, first};

/// Results that are put on a small disk: packages are unpacked and finished files are copied by this process, initrd
/// and disk also use tools.
const STEPS: [&str; 4] = ["packages", "initrd", "disk", "out"];

/// In a mount namespace: mounts a disk of 1 MiB at `$FULL`; the build fails; the disk grows; the build succeeds.
const SCRIPT: &str = "mount -t tmpfs -o size=1m none \"$FULL\" || exit 90
\"$@\" >/dev/null && exit 91
mount -o remount,size=3g \"$FULL\" || exit 92
exec \"$@\"";

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_full_disk_is_reported_and_the_build_resumes() {
    first();
    for step in STEPS {
        let name = format!("full-{step}");
        let mut build = Build::resumed(&name, &[step]);
        let full = if step == "out" { build.out.clone() } else { build.work.join(step) };
        make_folder(&full).unwrap();
        build.environment = vec![("FULL", full.clone().into())];
        let user = ["unshare", "--user", "--map-root-user", "--mount"];
        let finished = build.in_shell(&user, SCRIPT).run();
        // The free space varies: partial files were removed before it was measured.
        let (before, after) =
            (format!("the disk of {} is full (", full.display()), " of 1 MiB are free): free some space");
        let messages = finished
            .stderr
            .split(&before)
            .skip(1)
            .filter(|rest| rest.get(1..).is_some_and(|rest| rest.starts_with(after)));
        assert_eq!(messages.count(), 1, "{step}: {}", finished.stderr);
        assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"), "{step}");
    }
}
