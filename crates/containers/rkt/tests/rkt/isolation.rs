//! What an app can do to the host.

use crate::lab::{IMAGE, Lab};

/// Each script succeeds only if the attack is refused.
#[test]
fn apps_do_not_reach_the_host() {
    let Some(lab) = Lab::with_image("apps_do_not_reach_the_host") else { return };
    let attacks = [
        "ls /proc/1/root/ 2>/dev/null && exit 1; true",
        "cat /proc/1/environ >/dev/null 2>&1 && exit 1; true",
        "echo 1 2>/dev/null >/proc/sys/kernel/panic && exit 1; true",
        "echo 1 2>/dev/null >/proc/sysrq-trigger && exit 1; true",
        "touch /sys/fs/cgroup/new 2>/dev/null && exit 1; mkdir /sys/fs/cgroup/new 2>/dev/null && exit 1; true",
        "busybox mount -t tmpfs none /srv 2>/dev/null && exit 1; true",
        "busybox unshare -U true 2>/dev/null && exit 1; true",
        "busybox chroot /proc/1/root true 2>/dev/null && exit 1; true",
        "mknod /dev/x b 8 0 2>/dev/null && exit 1; mknod /x c 1 3 2>/dev/null && exit 1; true",
        "busybox reboot -f 2>/dev/null && exit 1; true",
        "test \"$(cat /proc/kcore | busybox wc -c)\" = 0",
        "hostname other 2>/dev/null && exit 1; true",
        "kill -9 1; ps | grep -q __pod",
    ];
    for attack in attacks {
        let printed = lab.script(&[], attack);
        assert_eq!(printed.code, Some(0), "{attack}: {printed:?}");
    }
}

#[test]
fn insecure_options_lift_restrictions() {
    let Some(lab) = Lab::with_image("insecure_options_lift_restrictions") else { return };
    let run = |options: &str, flags: &[&str], script: &str| {
        let option = format!("--insecure-options=image{options}");
        let arguments =
            [&["run", option.as_str(), "--net=none", IMAGE, "--exec=sh"], flags, &["--", "-c", script]]
                .concat();
        lab.rkt(&arguments).code
    };
    let mount = "busybox mount -t tmpfs none /srv";
    assert_ne!(run("", &[], mount), Some(0));
    assert_eq!(run(",all-run", &[], mount), Some(0));
    assert_eq!(run("", &["--caps-retain=CAP_SYS_ADMIN,CAP_DAC_OVERRIDE"], mount), Some(0));
    let fly = [
        "run",
        "--insecure-options=image",
        "--stage1-name=coreos.com/rkt/stage1-fly:1.30.0",
        IMAGE,
        "--exec=sh",
    ];
    let script = format!("{mount} && hostname");
    let links = [fly.as_slice(), &["--", "-c", &script]].concat();
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(lab.ok(&links), format!("{host}\n"));
    assert_ne!(run("", &["--caps-remove=CAP_CHOWN"], "touch /x; busybox chown 1 /x"), Some(0));
    assert_eq!(run("", &[], "touch /x; busybox chown 1 /x"), Some(0));
}
