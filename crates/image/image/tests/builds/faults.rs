//! The host's disk is full.

use image::tree::make_folder;

use crate::workshop::{Build, first};

/// Steps whose results lie on a small disk of their own: unpacking and copying are done here, initrd and disk
/// by tools too.
const STEPS: [&str; 4] = ["packages", "initrd", "disk", "out"];

/// In a mount namespace: a disk of 1 MiB at `$FULL`; the build fails; the disk grows; the build succeeds.
const SCRIPT: &str = "mount -t tmpfs -o size=1m none \"$FULL\" || exit 90
\"$@\" >/dev/null && exit 91
mount -o remount,size=3g \"$FULL\" || exit 92
exec \"$@\"";

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn a_full_disk_is_named_and_with_room_the_same_command_completes() {
    first();
    for step in STEPS {
        let name = format!("full-{step}");
        let mut build = Build::resumed(&name, &[step]);
        let full = if step == "out" { build.out.clone() } else { build.work.join(step) };
        make_folder(&full).unwrap();
        build.environment = vec![("FULL", full.clone().into())];
        let user = ["unshare", "--user", "--map-root-user", "--mount"];
        let finished = build.in_shell(&user, SCRIPT).run();
        // How much is free: what was half written is gone again by the time that is asked.
        let (before, after) =
            (format!("no room on the disk of {} (", full.display()), " of 1 MiB are free): make room");
        let told = finished
            .said
            .split(&before)
            .skip(1)
            .filter(|rest| rest.get(1..).is_some_and(|rest| rest.starts_with(after)));
        assert_eq!(told.count(), 1, "{step}: {}", finished.said);
        assert_eq!(finished.sha256("raw"), first().finished.sha256("raw"), "{step}");
    }
}
