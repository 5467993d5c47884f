//! What cannot be unpacked, and what was interrupted, leaves nothing that could be entered.

use machines::machine::Machine;

use super::super::kv::{SOON, expect_output};
use super::setup::{PATH, SMALL, configure, nothing_left, refused};
use crate::failure::Failure;

/// Archives in each format, and such that are none.
pub fn archives(machine: &Machine<'_>) -> Result<(), Failure> {
    let enter = "toolbox cat /etc/kind";
    refused_archive(machine, "/home/core/absent.tar", "no archive /home/core/absent.tar")?;
    machine.succeed(&format!("head -c 300000 {SMALL} >~/half.tar && echo none >~/none.tar"))?;
    refused_archive(machine, "/home/core/half.tar", "no image for")?;
    refused_archive(machine, "/home/core/none.tar", "no image for")?;
    refused_archive(
        machine,
        "http://127.0.0.1:8001/absent.tar",
        "cannot download http://127.0.0.1:8001/absent.tar",
    )?;
    // An archive of a root file system, and one of docker save that rkt does not decompress.
    machine.succeed(&format!(
        "mkdir -p ~/www/root/usr ~/www/root/bin ~/www/root/etc && cp /usr/bin/busybox ~/www/root/bin/ && \
         ln -s busybox ~/www/root/bin/cat && echo root >~/www/root/etc/kind && \
         tar -C ~/www/root -czf ~/www/root.tar.gz . && xz -0 -c {SMALL} >~/www/small.tar.xz"
    ))?;
    configure(machine, "TOOLBOX_DOCKER_ARCHIVE=~/www/root.tar.gz")?;
    expect_output(machine, enter, "root\n")?;
    expect_output(machine, "toolbox --rm", "")?;
    nothing_left(machine)?;
    machine.succeed(
        "sudo systemd-run --quiet --unit=www busybox httpd -f -p 127.0.0.1:8001 -h /home/core/www",
    )?;
    configure(machine, "TOOLBOX_DOCKER_ARCHIVE=http://127.0.0.1:8001/small.tar.xz")?;
    machine.wait_until_succeeds("toolbox busybox true", SOON)?;
    expect_output(
        machine,
        &format!("sudo find /var/lib/toolbox -mindepth 1 -maxdepth 1; ls {PATH}/bin/busybox"),
        &format!("{PATH}\n{PATH}/bin/busybox\n"),
    )?;
    machine.succeed("sudo systemctl stop www && toolbox --rm")?;
    nothing_left(machine)
}

fn refused_archive(machine: &Machine<'_>, archive: &str, expected: &str) -> Result<(), Failure> {
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={archive}"))?;
    refused(machine, "toolbox true", 1, expected)?;
    nothing_left(machine)
}

/// Kills `call` as soon as the pattern matches a path of the directory. If it ended before, it is made again after `before`.
fn kill_when_exists(machine: &Machine<'_>, before: &str, call: &str, pattern: &str) -> Result<(), Failure> {
    let killed = format!(
        "{before}; setsid {call} >/tmp/killed 2>&1 & group=$!; \
         until sudo find /var/lib/toolbox -path '{pattern}' | grep -q . || ! kill -0 $group; do :; done; \
         sudo kill -KILL -- -$group; wait $group; test $? = 137"
    );
    machine.wait_until_succeeds(&killed, SOON)?;
    Ok(())
}

/// Killed while it unpacks, it leaves no toolbox, and the next call makes one.
pub fn killed(machine: &Machine<'_>) -> Result<(), Failure> {
    // os-release, by which a toolbox is known, precedes a large file, and that precedes the command.
    machine.succeed("tar -C / -cf ~/large.tar etc/os-release usr/bin/docker usr/bin/busybox")?;
    for (archive, pattern) in [
        (SMALL, "*/.core-debian-trixie"),
        (SMALL, "*/.core-debian-trixie/new"),
        ("/home/core/large.tar", "*/usr/bin/docker"),
    ] {
        configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={archive}"))?;
        kill_when_exists(machine, "toolbox --rm", "toolbox true", pattern)?;
        expect_output(machine, "toolbox busybox echo entered", "entered\n")?;
        expect_output(machine, "sudo find /var/lib/toolbox -mindepth 1 -maxdepth 1", &format!("{PATH}\n"))?;
    }
    // A toolbox of before remains if its replacement is interrupted.
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}"))?;
    kill_when_exists(machine, "toolbox --pull touch /kept", "toolbox --pull true", "*/.core-debian-trixie")?;
    machine.succeed("toolbox ls /kept && toolbox --rm")?;
    nothing_left(machine)
}

/// The image does not fit.
pub fn full(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("sudo mkdir /run/small && sudo mount -t tmpfs -o size=1m tmpfs /run/small")?;
    configure(machine, &format!("TOOLBOX_DOCKER_ARCHIVE={SMALL}\nTOOLBOX_DIRECTORY=/run/small"))?;
    refused(machine, "toolbox true", 1, "cannot unpack the image")?;
    expect_output(machine, "sudo find /run/small -mindepth 1", "")?;
    machine.succeed("sudo umount /run/small")?;
    Ok(())
}
