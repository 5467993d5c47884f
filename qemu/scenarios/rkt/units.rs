//! Pods as units of fleet.

use machines::machine::Machine;

use super::super::docker;
use super::super::flannel;
use super::super::fleet::cluster::{FLEETCTL, Member, member_of, put, wait_for_machines, with_agent};
use super::super::kv::{FORMED, NODES, SOON, expect_output};
use super::images::state;
use crate::failure::{Failure, expect};

/// Settings of an operator that rkt's interfaces do not get.
const BRIDGES: &[u8] = b"[Match]\nName=rkt*\n[Network]\nDHCP=yes\n";
/// networkd sees a new device after udev.
const UNMANAGED: &str = "links=$(networkctl list --no-legend --no-pager 'rkt*'); echo \"$links\"; \
    test $(echo \"$links\" | wc -l) -ge 3 && ! echo \"$links\" | grep -v unmanaged";
const LIMITS: &str = " --memory=64Mi --cpu=500m";
const UNIT: &str = r#"[Unit]
Description=Web server in a pod
Requires=flanneld.service
After=flanneld.service

[Service]
Type=notify
TimeoutStartSec=0
KillMode=mixed
Delegate=yes
ExecStartPre=-/usr/bin/rkt rm --uuid-file=/run/web.uuid
ExecStart=/usr/bin/rkt run --uuid-file-save=/run/web.uuid --net=flannel --port=80-tcp:8080 \
  docker://busybox LIMITS --exec=/bin/sh -- -c "echo serving; exec httpd -f -p 80 -h /etc"
Restart=always

[X-Fleet]
"#;

/// A unit on its machine, and its pod.
pub struct Web<'a> {
    pub member: &'a Member<'a>,
    pub unit: &'static str,
    pub uuid: String,
    /// The pod's own.
    pub address: String,
}

impl Web<'_> {
    pub fn id(&self) -> &str {
        &self.member.id
    }

    pub fn machine(&self) -> &Machine<'_> {
        &self.member.machine
    }

    /// What its server responds at `/hostname`.
    fn response(&self) -> String {
        format!("rkt-{}\n", self.uuid)
    }

    /// A request of this pod.
    fn get(&self, address: &str) -> String {
        format!("sudo rkt enter {} /bin/wget -q -T 10 -O - http://{address}/hostname", self.uuid)
    }
}

/// Starts a unit on any machine, and another one on a certain machine.
pub fn start<'a>(members: &'a [Member<'a>; NODES], has_limits: bool) -> Result<[Web<'a>; 2], Failure> {
    let config = "etcdctl set /coreos.com/network/config '{ \"Network\": \"10.1.0.0/16\" }'";
    members[0].machine.succeed(config)?;
    for member in members {
        member.machine.write("/etc/systemd/network/60-bridges.network", BRIDGES)?;
        member.machine.succeed("sudo networkctl reload")?;
        member.machine.succeed(flannel::START)?;
    }
    for member in members {
        flannel::subnet(&member.machine, &flannel::VXLAN)?;
    }
    let [client, _, last] = members;
    let unit = UNIT.replace(" LIMITS", if has_limits { LIMITS } else { "" });
    put(&client.machine, "web@.service", &format!("{unit}Conflicts=web@*.service\n"))?;
    put(&client.machine, "web@2.service", &format!("{unit}MachineID={}\n", last.id))?;
    // An emulated machine on a busy host may lose the store for a while.
    client.machine.wait_until_succeeds(&format!("{FLEETCTL} start web@1.service web@2.service"), SOON)?;
    let running =
        "test $(fleetctl list-units --no-legend --fields=active,sub | grep -c 'active.running') = 2";
    client.machine.wait_until_succeeds(running, SOON)?;
    let find = |unit: &'static str| observe(member_of(&client.machine, members, unit)?, unit);
    let (one, two) = (find("web@1.service")?, find("web@2.service")?);
    expect(
        one.id() != last.id && two.id() == last.id,
        "two machines",
        &format!("{} {}", one.id(), two.id()),
    )?;
    Ok([one, two])
}

/// Waits until the unit's pod has started.
fn observe<'a>(member: &'a Member<'a>, unit: &'static str) -> Result<Web<'a>, Failure> {
    let machine = &member.machine;
    machine.wait_until_succeeds("sudo rkt status --uuid-file=/run/web.uuid | grep started=", SOON)?;
    let uuid = machine.succeed("sudo cat /run/web.uuid")?.trim().to_owned();
    let status = machine.succeed(&format!("sudo rkt status {uuid}"))?;
    let network = status.lines().find_map(|line| line.strip_prefix("networks=flannel:ip4="));
    let address = network.unwrap_or_default().to_owned();
    expect(status.starts_with("state=running\n") && address.starts_with("10.1."), "a running pod", &status)?;
    state(machine, &uuid, "running")?;
    Ok(Web { member, unit, uuid, address })
}

pub fn limits(one: &Web<'_>, two: &Web<'_>) -> Result<(), Failure> {
    for web in [one, two] {
        let group = format!("/sys/fs/cgroup$(systemctl show -P ControlGroup {})/rkt-app-busybox", web.unit);
        let limits = format!("cat {group}/memory.max {group}/cpu.max; wc -l <{group}/cgroup.procs");
        expect_output(web.machine(), &limits, "67108864\n50000 100000\n1\n")?;
    }
    let hog = |memory: &str| {
        format!(
            "sudo systemd-run --quiet --collect --wait --pipe --property=Delegate=yes rkt run --net=none docker://busybox \
             --memory={memory} --exec=/bin/dd -- if=/dev/zero of=/dev/null bs=32M count=1 2>/dev/null; echo $?"
        )
    };
    expect_output(one.machine(), &hog("128Mi"), "0\n")?;
    // Killed.
    expect_output(one.machine(), &hog("16Mi"), "137\n")
}

/// Journals, a program in the pod, the forwarded port, addresses of pods.
pub fn networks(one: &Web<'_>, two: &Web<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    for (own, other) in [(one, two), (two, one)] {
        let machine = own.machine();
        machine.succeed(&format!("journalctl -u {} | grep ': serving$'", own.unit))?;
        let journal =
            with_agent(&format!("{FLEETCTL} --strict-host-key-checking=false journal {}", own.unit));
        other.machine().succeed(&format!("{journal} | grep ': serving$'"))?;
        expect_output(machine, &format!("sudo rkt enter {} /bin/hostname", own.uuid), &own.response())?;
        for member in members {
            let request = format!("curl -sSf --max-time 20 http://{}:8080/hostname", own.member.address);
            expect_output(&member.machine, &request, &own.response())?;
        }
        expect_output(machine, &own.get(&other.address), &other.response())?;
        // A pod of the default network has its machine's address there.
        let default = format!(
            "sudo rkt run docker://busybox --exec=/bin/wget -- -q -T 20 -O - http://{}/hostname",
            other.address
        );
        expect_output(machine, &default, &other.response())?;
        machine.wait_until_succeeds(UNMANAGED, SOON)?;
        // udev leaves the address that rkt gave.
        let bridge = machine.succeed("udevadm settle; cat /sys/class/net/rkt-flannel/address")?;
        expect(bridge.starts_with("0a:58:0a:01:"), "the bridge's own address", &bridge)?;
    }
    Ok(())
}

/// Containers of Docker reach pods of the same machine, and pods reach their ports.
pub fn beside_docker(web: &Web<'_>) -> Result<(), Failure> {
    let machine = web.machine();
    // Its start loads the image.
    docker::start(machine)?;
    let run = "docker run --pull never";
    machine
        .succeed(&format!("{run} --detach --name app --publish 8081:80 busybox httpd -f -p 80 -h /etc"))?;
    let request = format!("{run} --rm busybox wget -q -T 20 -O - http://{}/hostname", web.address);
    expect_output(machine, &request, &web.response())?;
    let hostname = machine.succeed("docker exec app hostname")?;
    expect_output(machine, &web.get(&format!("{}:8081", web.member.address)), &hostname)
}

/// Nothing is left of a pod whose rkt was killed, and the next one has its address and port.
pub fn killed<'a>(web: Web<'a>, other: &Web<'_>) -> Result<Web<'a>, Failure> {
    let machine = web.machine();
    machine.succeed(&format!("sudo kill -KILL $(systemctl show -P MainPID {})", web.unit))?;
    let restarted = format!(
        "uuid=$(sudo cat /run/web.uuid) && test $uuid != {} && sudo rkt status $uuid | grep started=",
        web.uuid
    );
    machine.wait_until_succeeds(&restarted, SOON)?;
    let next = observe(web.member, web.unit)?;
    expect(next.address == web.address, &web.address, &next.address)?;
    let (first, rest) = web.uuid.split_at(1);
    // The brackets keep the search from finding itself.
    for left in [
        format!("pgrep -f '[{first}]{rest}'"),
        format!("ip link show rkt{}", web.uuid.get(..8).unwrap_or_default()),
        format!("sudo nft list tables | grep {}", web.uuid),
        format!("sudo rkt list --full | grep {}", web.uuid),
        format!("grep {} /proc/self/mounts", web.uuid),
    ] {
        machine.fail(&left)?;
    }
    expect_output(other.machine(), &other.get(&next.address), &next.response())?;
    let port = format!("curl -sSf --max-time 20 http://{}:8080/hostname", web.member.address);
    expect_output(other.machine(), &port, &next.response())?;
    Ok(next)
}

/// A machine that loses its power lists its pods as exited, and fleet starts its unit again.
pub fn rebooted(web: &Web<'_>, members: &[Member<'_>; NODES]) -> Result<(), Failure> {
    let machine = web.machine();
    machine.crash()?;
    machine.start()?;
    machine.wait_for_unit("flanneld.service", FORMED)?;
    wait_for_machines(machine, &members.iter().collect::<Vec<_>>())?;
    machine.wait_until_succeeds(&format!("systemctl is-active {}", web.unit), FORMED)?;
    let next = observe(web.member, web.unit)?;
    expect(next.uuid != web.uuid, "another pod", &next.uuid)?;
    state(machine, &web.uuid, "exited")?;
    machine.succeed("systemctl is-active rkt-gc.timer")?;
    let other = members.iter().find(|member| member.id != web.member.id);
    let Some(other) = other else { return Ok(()) };
    let port = format!("curl -sSf --max-time 20 http://{}:8080/hostname", web.member.address);
    expect_output(&other.machine, &port, &next.response())
}

/// Stopped units have succeeded, and their pods can be removed.
pub fn stopped(webs: [&Web<'_>; 2]) -> Result<(), Failure> {
    let client = webs[0].machine();
    // A machine has just returned: etcd may still elect a leader.
    client.wait_until_succeeds(&format!("{FLEETCTL} stop web@1.service web@2.service"), SOON)?;
    for web in webs {
        let machine = web.machine();
        machine.wait_until_fails(&format!("systemctl is-active {}", web.unit), SOON)?;
        machine
            .succeed(&format!("journalctl -u {} | tail -3 | grep 'Deactivated successfully'", web.unit))?;
        let uuid = machine.succeed("sudo cat /run/web.uuid")?;
        let removed = format!("\"{}\"\n", uuid.trim());
        expect_output(machine, "sudo rkt rm --uuid-file=/run/web.uuid", &removed)?;
        let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
        expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    }
    expect_output(client, &format!("{FLEETCTL} destroy web@1 web@2 | wc -l"), "2\n")
}
