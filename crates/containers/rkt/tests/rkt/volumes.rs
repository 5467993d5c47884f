//! Volumes and root file systems.

use std::fs;

use crate::lab::{IMAGE, Lab};

#[test]
fn host_volumes() {
    let Some(lab) = Lab::with_image("host_volumes") else { return };
    fs::create_dir(lab.path("shared")).unwrap();
    fs::write(lab.path("shared/in"), "host").unwrap();
    let check = |options: &str, script: &str, code: i32, stdout: &str| {
        let volume = format!("--volume=v,kind=host,source={}{options}", lab.path("shared"));
        let printed = lab.script(&[&volume, "--mount=volume=v,target=/deep/v"], script);
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(code), stdout), "{printed:?}");
    };
    check("", "cat /deep/v/in; echo app > /deep/v/out", 0, "host");
    assert_eq!(fs::read_to_string(lab.path("shared/out")).unwrap(), "app\n");
    check(",readOnly=true", "touch /deep/v/new || echo refused", 0, "refused\n");
    let missing = ["run", "--insecure-options=image", "--volume=v,kind=host,source=/none/such", IMAGE];
    lab.fails(&missing, "volume v: /none/such");
    assert_eq!(fs::read_dir(lab.pods("prepare")).unwrap().count(), 0);
}

#[test]
fn empty_volumes_end_with_the_pod() {
    let Some(lab) = Lab::with_image("empty_volumes_end_with_the_pod") else { return };
    let volume = ["--volume=v,kind=empty,mode=0700,uid=33,gid=33", "--mount=volume=v,target=/v"];
    let printed = lab.script(&volume, "ls -ldn /v");
    assert!(printed.stdout.starts_with("drwx------    2 33       33"), "{printed:?}");
    lab.ok(&["gc", "--grace-period=0s"]);
    assert_eq!(fs::read_dir(lab.pods("run")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(lab.pods("garbage")).unwrap().count(), 0);
}

#[test]
fn pods_do_not_change_images() {
    let Some(lab) = Lab::with_image("pods_do_not_change_images") else { return };
    assert_eq!(lab.script(&[], "echo x > /bin/busybox.new; echo x >> /etc/passwd; touch /new").code, Some(0));
    assert_eq!(lab.script(&[], "test -e /new && exit 1; grep -q x: /etc/passwd").code, Some(0));
    assert!(lab.ok(&["image", "verify", IMAGE]).contains("successfully verified"));
    let run = [
        "run",
        "--insecure-options=image",
        "--net=none",
        IMAGE,
        "--readonly-rootfs",
        "--exec=touch",
        "--",
        "/x",
    ];
    assert_eq!(lab.rkt(&run).code, Some(1));
}

/// The end of a pod does not write what other programs have written to the file system of rkt's directory.
#[test]
fn root_file_systems_are_volatile() {
    let Some(lab) = Lab::with_image("root_file_systems_are_volatile") else { return };
    let printed = lab.script(&[], "grep ' / overlay ' /proc/mounts; echo changed >/srv/file; cat /srv/file");
    assert!(printed.stdout.contains("volatile") && printed.stdout.ends_with("changed\n"), "{printed:?}");
}
