//! Row D1: Docker's command lines of the tutorials.

use std::time::Duration;

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::kv::{SOON, expect_output};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const DOCKER: Scenario = Scenario {
    name: "docker-tutorials",
    about: "ports, links, volumes, data containers, archives, the API by port and socket, and containers that a reboot starts (D1)",
    user_data: Some(include_str!("../user-data/docker.yaml")),
    on: &[Qemu],
    long_on: &[Qemu],
    run: docker,
    ..DEFAULTS
};

/// Limit for Docker's first start on an emulated machine.
pub const STARTED: Duration = Duration::from_secs(600);

/// Starts Docker, which takes longer than the limit of one command.
pub fn start(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("sudo systemctl start --no-block docker.service")?;
    Ok(machine.wait_for_unit("docker.service", STARTED)?)
}

fn docker(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let machine = context.machine(1);
    port_of_the_api(&machine)?;
    ports_and_links(&machine)?;
    data_containers(&machine)?;
    exit_statuses(&machine)?;
    unit(&machine)?;
    archives(&machine)?;
    socket_in_a_container(&machine)?;
    rebooted(&machine)
}

fn port_of_the_api(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.fail("systemctl is-active docker.service")?;
    start(machine)?;
    let version = machine.wait_until_succeeds("curl -sf http://127.0.0.1:2375/version", SOON)?;
    expect(version.contains("\"ApiVersion\""), "docker's answer on its port", &version)?;
    let images = "/run/torcx/bin/docker -H tcp://127.0.0.1:2375 images --format '{{.Repository}}:{{.Tag}}'";
    expect_output(machine, images, "busybox:latest\n")
}

fn ports_and_links(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("mkdir site && echo from the host >site/index.html")?;
    machine.succeed(
        "docker run -d --name web --expose 80 -p 8080:80 -v /home/core/site:/www:ro -e COLOR=blue \
         --env-file /etc/environment busybox httpd -f -h /www",
    )?;
    machine.wait_until_succeeds("curl -sf http://127.0.0.1:8080/ | grep -x 'from the host'", SOON)?;
    expect_output(machine, "docker port web", "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n")?;
    let own = machine.succeed("docker exec web env")?;
    expect(own.contains("COLOR=blue\n"), "the variable", &own)?;
    expect(own.contains("COREOS_PRIVATE_IPV4="), "the machine's variables", &own)?;
    machine.fail("docker exec web touch /www/not-here")?;
    expect_output(
        machine,
        "docker run --rm --link web:backend busybox wget -qO- http://backend/",
        "from the host\n",
    )?;
    let linked = machine.succeed("docker run --rm --link web:backend busybox env")?;
    for variable in ["BACKEND_PORT=tcp://172.17.0.", "BACKEND_PORT_80_TCP_PORT=80", "BACKEND_ENV_COLOR=blue"]
    {
        expect(linked.contains(variable), variable, &linked)?;
    }
    Ok(())
}

/// A container that only has a volume, others that use it, and its backup.
fn data_containers(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("docker create -v /data --name store busybox true")?;
    machine.succeed("docker run --rm --volumes-from store busybox sh -c 'echo kept >/data/file'")?;
    machine.succeed(
        "docker run --rm --volumes-from store -v $(pwd):/backup busybox tar cf /backup/backup.tar /data",
    )?;
    expect_output(machine, "tar xOf backup.tar data/file", "kept\n")?;
    // Without -v, a removed container leaves its volume.
    machine.succeed("docker run --name other --volumes-from store busybox true && docker rm -v other")?;
    expect_output(machine, "docker run --rm --volumes-from store busybox cat /data/file", "kept\n")
}

/// Those that the tutorials' units depend on.
fn exit_statuses(machine: &Machine<'_>) -> Result<(), Failure> {
    for (command, status) in [
        ("docker kill nothing", 1),
        ("docker rm nothing", 1),
        ("docker stop nothing", 1),
        ("docker run --rm busybox sh -c 'exit 3'", 3),
        ("docker run --no-such-flag busybox", 125),
        ("docker run --rm busybox /etc", 126),
        ("docker run --rm busybox not-there", 127),
    ] {
        let output = machine.execute(command)?;
        expect(
            output.code == status,
            &format!("exit status {status} of {command}"),
            &output.code.to_string(),
        )?;
    }
    Ok(())
}

/// The unit of CoreOS's guide, which is started, stopped and restarted repeatedly. Where no registry is, pulling may fail.
const UNIT: &str = r#"[Unit]
Description=My Service
After=docker.service
Requires=docker.service

[Service]
TimeoutStartSec=0
ExecStartPre=-/usr/bin/docker kill busybox1
ExecStartPre=-/usr/bin/docker rm busybox1
ExecStartPre=-/usr/bin/docker pull busybox
ExecStart=/usr/bin/docker run --name busybox1 busybox /bin/sh -c "trap 'exit 0' INT TERM; while true; do echo Hello World; sleep 1; done"
ExecStop=/usr/bin/docker stop busybox1

[Install]
WantedBy=multi-user.target
"#;

fn unit(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.write("/etc/systemd/system/my.service", UNIT.as_bytes())?;
    machine.succeed("sudo systemctl daemon-reload")?;
    let running = "docker ps --format '{{.Names}}' | grep -x busybox1";
    for _ in 0..2 {
        machine.succeed("sudo systemctl start my.service")?;
        machine.wait_until_succeeds(running, SOON)?;
        machine.succeed("sudo systemctl restart my.service")?;
        machine.wait_until_succeeds(running, SOON)?;
        machine.wait_until_succeeds("journalctl -u my.service --no-pager | grep 'Hello World'", SOON)?;
        machine.succeed("sudo systemctl stop my.service")?;
        let ended = machine.succeed("systemctl show --property=Result,ExecMainStatus my.service")?;
        expect(ended == "Result=success\nExecMainStatus=0\n", "a clean end", &ended)?;
        machine.fail(running)?;
    }
    Ok(())
}

fn archives(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed("docker tag busybox example/own:1 && docker save example/own:1 | gzip >own.tar.gz")?;
    machine.succeed("docker rmi example/own:1")?;
    let loaded = "Loaded image: example/own:1\n";
    expect_output(machine, "docker load -i own.tar.gz", loaded)?;
    expect_output(machine, "docker rmi example/own:1", "Untagged: example/own:1\n")?;
    expect_output(machine, "docker load <own.tar.gz", loaded)?;
    expect_output(machine, "docker rmi example/own:1", "Untagged: example/own:1\n")?;
    // Loaded with Docker's next start; one that is damaged does not keep it out.
    machine.succeed(
        "sudo mkdir -p /var/lib/keelson/images && sudo cp own.tar.gz /var/lib/keelson/images/ && \
         echo damaged | sudo tee /var/lib/keelson/images/a.tar",
    )?;
    Ok(())
}

/// Docker's socket as a volume, for programs that watch containers.
fn socket_in_a_container(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.succeed(
        "libraries=$(ldd /usr/bin/curl | grep -o '/[^ ]*') && \
         tar -C / -ch $(echo $libraries /usr/bin/curl | sed 's: /: :g; s:^/::') | docker import - curl",
    )?;
    let names = machine.succeed(
        "docker run --rm -v /var/run/docker.sock:/var/run/docker.sock curl \
         /usr/bin/curl -sf --unix-socket /var/run/docker.sock http://docker/containers/json",
    )?;
    expect(names.contains("\"/web\""), "the containers", &names)
}

/// Docker starts at boot where a container is to run again, and only there.
fn rebooted(machine: &Machine<'_>) -> Result<(), Failure> {
    machine.reboot()?;
    machine.fail("systemctl is-active docker.service")?;
    start(machine)?;
    machine.wait_until_succeeds("docker images | grep ^example/own", STARTED)?;
    let damaged =
        machine.succeed("journalctl -b -u docker.service --no-pager | grep /var/lib/keelson/images")?;
    expect(damaged.contains("a.tar: not loaded"), "the damaged archive", &damaged)?;
    machine.succeed("docker rmi example/own:1")?;
    unchanged_archives_are_not_read(machine)?;
    expect_output(machine, "docker run --rm --volumes-from store busybox cat /data/file", "kept\n")?;
    machine.succeed(
        "docker run -d --name always --restart=always -p 8081:80 -v /home/core/site:/www busybox httpd -f -h /www",
    )?;
    machine.reboot()?;
    machine.wait_until_succeeds("curl -sf http://127.0.0.1:8081/ | grep -x 'from the host'", STARTED)?;
    expect_output(machine, "docker ps --format '{{.Names}}'", "always\n")?;
    machine.wait_for_unit("docker.service", STARTED)?;
    machine.fail("docker images | grep ^example/own")?;
    Ok(())
}

/// Only what could not be loaded is read at Docker's next start.
fn unchanged_archives_are_not_read(machine: &Machine<'_>) -> Result<(), Failure> {
    let folder = "/var/lib/keelson/images";
    machine.succeed(&format!("sudo mount -o remount,strictatime $(findmnt -no TARGET -T {folder})"))?;
    let last_read = |name: &str| machine.succeed(&format!("stat --format=%x {folder}/{name}"));
    let [loaded, damaged] = [last_read("own.tar.gz")?, last_read("a.tar")?];
    machine.succeed("sudo systemctl stop docker.service docker.socket")?;
    start(machine)?;
    let now = last_read("own.tar.gz")?;
    expect(now == loaded, &format!("an archive that was last read at {loaded}"), &now)?;
    let now = last_read("a.tar")?;
    expect(now != damaged, "a later time at which the damaged archive was read", &now)
}
