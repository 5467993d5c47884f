//! etcd on a cluster that was formed by discovery: its users' commands and their output.

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;
use machines::site::Rotate;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;

pub(super) const USER_DATA: &str = include_str!("../user-data/etcd.yaml");
/// Limit for forming the cluster and electing a leader.
pub(super) const FORMED: Duration = Duration::from_secs(300);
/// Much longer than an election takes.
pub(super) const SOON: Duration = Duration::from_secs(120);
pub(super) const NODES: usize = 3;
/// etcdctl's time-out until the headers of a response, the original's.
const ETCDCTL_TIMEOUT: Duration = Duration::from_secs(1);
/// etcdctl's time-out of a whole command, the original's.
const ETCDCTL_TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Boots the machines and waits until every member serves.
pub(super) fn form<'a>(context: &Context<'a>) -> Result<Vec<Machine<'a>>, Failure> {
    // Before the boot: emulated machines load the host themselves.
    let slowdown = slowdown();
    context.boot()?;
    let machines: Vec<_> = (1..=NODES).map(|number| context.machine(number)).collect();
    for machine in &machines {
        machine.wait_for_unit("etcd.service", FORMED)?;
        let failed = machine.succeed("systemctl --failed --no-legend --plain")?;
        expect(failed.trim().is_empty(), "no failed unit", &failed)?;
    }
    scale_timeouts(&machines, slowdown)?;
    Ok(machines)
}

/// On a host that is slower than the reference, the time-outs of etcdctl grow like other limits.
fn scale_timeouts(machines: &[Machine<'_>], slowdown: f64) -> Result<(), Failure> {
    if slowdown > 1.0 {
        let variables =
            [("ETCDCTL_TIMEOUT", ETCDCTL_TIMEOUT), ("ETCDCTL_TOTAL_TIMEOUT", ETCDCTL_TOTAL_TIMEOUT)]
                .map(|(name, default)| format!("{name}={:.1}s", default.as_secs_f64() * slowdown));
        eprintln!("host slowdown {slowdown:.2}: {}", variables.join(" "));
        // Sessions get these variables.
        let add = format!("printf '%s\\n' {} | sudo tee -a /etc/environment", variables.join(" "));
        machines.iter().try_for_each(|machine| machine.succeed(&add).map(drop))?;
    }
    Ok(())
}

/// Runs a command and compares its whole output.
pub(super) fn expect_output(machine: &Machine<'_>, command: &str, expected: &str) -> Result<(), Failure> {
    let output = machine.succeed(command)?;
    expect(output == expected, &format!("{command} to print {expected:?}"), &output)
}

/// The leader's machine number, from 1, as the members report it.
pub(super) fn leader(context: &Context<'_>, queried: &Machine<'_>) -> Result<usize, Failure> {
    let list = queried.wait_until_succeeds("etcdctl member list | grep isLeader=true", SOON)?;
    for number in 1..=NODES {
        if list.contains(&format!("http://{}:", context.machine(number).node()?.address)) {
            return Ok(number);
        }
    }
    Err(Failure::Expected(format!("expected a leader among the machines; the members are {list}")))
}

pub const KEYS: Scenario = Scenario {
    name: "kv",
    about: "three machines form a key-value store by discovery, and it does what the tutorials type",
    nodes: NODES,
    user_data: Some(USER_DATA),
    run: keys,
    ..DEFAULTS
};

fn keys(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let (one, two, three) = (&machines[0], &machines[1], &machines[2]);
    expect_output(one, "etcdctl set /message Hello", "Hello\n")?;
    expect_output(two, "etcdctl get --quorum /message", "Hello\n")?;
    expect_output(one, "etcdctl mkdir /foo-service", "")?;
    expect_output(one, "etcdctl set /foo-service/container1 localhost:1111", "localhost:1111\n")?;
    expect_output(one, "etcdctl ls /foo-service", "/foo-service/container1\n")?;
    health(context, three)?;
    expiry(two)?;
    watch(context, one, two)?;
    http(three)?;
    locks(&machines)?;
    queue(two)
}

/// Compares the whole output of `cluster-health`.
pub(super) fn health(context: &Context<'_>, machine: &Machine<'_>) -> Result<(), Failure> {
    let numbers: Vec<_> = (1..=NODES).collect();
    health_of(context, machine, &numbers)
}

/// The same for a cluster of these machines, by number.
pub(super) fn health_of(
    context: &Context<'_>,
    machine: &Machine<'_>,
    numbers: &[usize],
) -> Result<(), Failure> {
    let output = machine.succeed("etcdctl cluster-health")?;
    let lines: Vec<_> = output.lines().collect();
    let all = lines.len() == numbers.len() + 1 && lines[numbers.len()] == "cluster is healthy";
    expect(all, "all members healthy", &output)?;
    for number in numbers.iter().copied() {
        let end = format!(
            " is healthy: got healthy result from http://{}:2379",
            context.machine(number).node()?.address
        );
        let id = lines.iter().find_map(|line| line.strip_prefix("member ")?.strip_suffix(&end));
        let hex = |id: &str| id.len() <= 16 && u64::from_str_radix(id, 16).is_ok();
        expect(id.is_some_and(hex), &format!("a line `member ID{end}`"), &output)?;
    }
    Ok(())
}

fn expiry(machine: &Machine<'_>) -> Result<(), Failure> {
    expect_output(machine, "etcdctl set /foo 'Expiring Soon' --ttl 20", "Expiring Soon\n")?;
    expect_output(machine, "etcdctl get /foo", "Expiring Soon\n")?;
    let gone = "! etcdctl get /foo 2>/tmp/said && grep -q '100: Key not found (/foo)' /tmp/said";
    machine.wait_until_succeeds(gone, Duration::from_secs(40))?;
    Ok(())
}

/// Succeeds while a member has an open watch: etcdctl uses any of them.
fn watched(context: &Context<'_>) -> Result<String, Failure> {
    let mut urls = Vec::new();
    for number in 1..=NODES {
        urls.push(format!("http://{}:2379/v2/stats/store", context.machine(number).node()?.address));
    }
    Ok(format!("curl -s -m 10 {} | grep -q '\"watchers\":1'", urls.join(" ")))
}

/// A watch returns at the next change below its key, made on any machine.
fn watch(context: &Context<'_>, watching: &Machine<'_>, changing: &Machine<'_>) -> Result<(), Failure> {
    watching.succeed(
        "sudo systemd-run --unit=watch sh -c 'etcdctl watch /foo-service --recursive >/tmp/seen 2>&1'",
    )?;
    watching.wait_until_succeeds(&watched(context)?, SOON)?;
    changing.succeed("etcdctl set /foo-service/container2 localhost:2222")?;
    let actual = watching.wait_until_succeeds("grep -x localhost:2222 /tmp/seen && cat /tmp/seen", SOON)?;
    expect(actual.contains("[set] /foo-service/container2\nlocalhost:2222\n"), "the change", &actual)
}

/// Both generations of ports and of the API.
fn http(machine: &Machine<'_>) -> Result<(), Failure> {
    for port in [2379, 4001] {
        let keys = format!("http://127.0.0.1:{port}/v2/keys");
        let set = machine.succeed(&format!("curl -s {keys}/http -XPUT -d value=one"))?;
        expect(set.starts_with(r#"{"action":"set","node":{"key":"/http","value":"one","#), "a set", &set)?;
        let swap = machine.succeed(&format!("curl -s '{keys}/http?prevValue=one' -XPUT -d value=two"))?;
        expect(swap.starts_with(r#"{"action":"compareAndSwap""#), "a swap", &swap)?;
        let refused =
            machine.succeed(&format!("curl -s '{keys}/http?prevValue=one' -XPUT -d value=three"))?;
        expect(
            refused.contains(r#""errorCode":101,"message":"Compare failed","cause":"[one != two]""#),
            "101",
            &refused,
        )?;
        let gone = machine.succeed(&format!("curl -s '{keys}/http?prevValue=two' -XDELETE"))?;
        expect(gone.starts_with(r#"{"action":"compareAndDelete""#), "a delete", &gone)?;
        machine.succeed(&format!("curl -s {keys}/_hidden -XPUT -d value=x"))?;
        let listed = machine.succeed(&format!("curl -s '{keys}/?recursive=true'"))?;
        expect(!listed.contains("_hidden"), "hidden keys to stay hidden", &listed)?;
    }
    machine.succeed("etcdctl set /database postgres")?;
    let old = machine.succeed("curl -s http://127.0.0.1:4001/v1/keys/database")?;
    expect(old.starts_with(r#"{"action":"get","key":"/database","value":"postgres","index":"#), "v1", &old)
}

/// All machines acquire the lock concurrently; one holds it, and only the holder releases it.
fn locks(machines: &[Machine<'_>]) -> Result<(), Failure> {
    for round in 0..3 {
        let key = format!("/lock/{round}");
        let holder = &machines[take_lock(machines, &key)?];
        expect_output(holder, &format!("etcdctl get {key}"), &format!("{}\n", holder.name()))?;
        let release = |machine: &Machine<'_>| format!("etcdctl rm {key} --with-value {}", machine.name());
        for other in machines.iter().filter(|machine| machine.name() != holder.name()) {
            other.fail(&release(other))?;
        }
        holder.succeed(&release(holder))?;
    }
    Ok(())
}

/// All machines create the key at once. Returns the index of the only one that did.
fn take_lock(machines: &[Machine<'_>], key: &str) -> Result<usize, Failure> {
    let attempts: Vec<Result<(bool, Duration), Failure>> = std::thread::scope(|scope| {
        let attempt = |machine: &Machine<'_>| {
            let began = Instant::now();
            let code = machine.execute(&format!("etcdctl mk {key} {} --ttl 60", machine.name()))?.code;
            Ok((code == 0, began.elapsed()))
        };
        let threads: Vec<_> = machines.iter().map(|machine| scope.spawn(move || attempt(machine))).collect();
        let lost = || Err(Failure::Expected("expected an answer; a thread ended without one".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
    });
    let attempts = attempts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let created: Vec<usize> = (0..attempts.len()).filter(|index| attempts[*index].0).collect();
    match *created {
        [holder] => return Ok(holder),
        // etcdctl repeats a request whose response exceeds its time-out; if the first one took effect, the second
        // reports that the key exists.
        [] => {
            let value = machines[0].succeed(&format!("etcdctl get --quorum {key}"))?;
            let repeated = |index: &usize| {
                attempts[*index].1 > ETCDCTL_TIMEOUT && machines[*index].name() == value.trim_end()
            };
            if let Some(holder) = (0..machines.len()).find(repeated) {
                return Ok(holder);
            }
        }
        _ => {}
    }
    Err(Failure::Expected(format!("expected one machine to create {key}; attempts: {attempts:?}")))
}

/// In-order keys are read in the order of their creation, each once.
fn queue(machine: &Machine<'_>) -> Result<(), Failure> {
    for job in ["first", "second", "third"] {
        expect_output(machine, &format!("etcdctl mk /queue {job} --in-order"), &format!("{job}\n"))?;
    }
    let take = "key=$(etcdctl ls --sort /queue | head -1) && etcdctl get $key && etcdctl rm $key >/dev/null";
    for job in ["first", "second", "third"] {
        expect_output(machine, take, &format!("{job}\n"))?;
    }
    expect_output(machine, "etcdctl ls /queue", "")
}

pub const MOVES: Scenario = Scenario {
    name: "kv-service-moves",
    about: "a service that registers under a TTL moves to another machine, and who watches it is told the new place",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    user_data: Some(USER_DATA),
    run: moves,
    ..DEFAULTS
};

const REGISTER: &str = "sudo systemd-run --unit=service sh -c 'while :; do \
    curl -s http://127.0.0.1:2379/v2/keys/service/place -XPUT -d value=PLACE -d ttl=5 >/dev/null; sleep 1; done'";

fn moves(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let (here, there, router) = (&machines[0], &machines[1], &machines[2]);
    let follow = "sudo systemd-run --unit=router etcdctl exec-watch --recursive /service -- \
                  sh -c 'echo $ETCD_WATCH_ACTION $ETCD_WATCH_VALUE >>/run/routes'";
    router.succeed(follow)?;
    router.wait_until_succeeds(&watched(context)?, SOON)?;
    here.succeed(&REGISTER.replace("PLACE", "here:80"))?;
    router.wait_until_succeeds("tail -1 /run/routes | grep -x 'set here:80'", SOON)?;
    here.crash()?;
    router.wait_until_succeeds("grep -x expire /run/routes", SOON)?;
    there.succeed(&REGISTER.replace("PLACE", "there:80"))?;
    router.wait_until_succeeds("tail -1 /run/routes | grep -x 'set there:80'", SOON)?;
    Ok(())
}

pub const LEADER_DIES: Scenario = Scenario {
    name: "kv-leader-dies",
    about: "the leader's process is killed, then its machine, under load: no acknowledged write is lost",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    user_data: Some(USER_DATA),
    run: leader_dies,
    ..DEFAULTS
};

/// Writes keys until a file appears, and records the acknowledged ones.
pub(super) const LOAD: &str = "sudo systemd-run --unit=load sh -c 'i=0; while ! test -e /run/enough; do i=$((i+1)); \
    code=$(curl -s -m 10 -o /dev/null -w %{http_code} http://127.0.0.1:2379/v2/keys/load/$i -XPUT -d value=$i); \
    case $code in 200|201) echo $i >>/run/acknowledged;; esac; done'";

fn leader_dies(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let first = leader(context, &machines[0])?;
    // The writer must outlive both leaders.
    let writer = &machines[first % NODES];
    writer.succeed(LOAD)?;
    let more = |than: usize| format!("test $(wc -l </run/acknowledged) -gt {than}");
    writer.wait_until_succeeds(&more(50), SOON)?;
    let count = || -> Result<usize, Failure> {
        Ok(writer.succeed("wc -l </run/acknowledged")?.trim().parse().unwrap_or(0))
    };
    context.machine(first).succeed("sudo systemctl kill -s KILL etcd.service")?;
    writer.wait_until_succeeds(&more(count()? + 50), SOON)?;
    context.machine(first).wait_for_unit("etcd.service", FORMED)?;
    let mut second = leader(context, writer)?;
    if context.machine(second).name() == writer.name() {
        // The leader's restart is graceful: it transfers the leadership. The writer's machine stays up.
        writer.succeed("sudo systemctl restart etcd.service")?;
        second = leader(context, writer)?;
    }
    expect(context.machine(second).name() != writer.name(), "another leader than the writer", writer.name())?;
    context.machine(second).crash()?;
    writer.wait_until_succeeds(&more(count()? + 50), SOON)?;
    context.machine(second).start()?;
    context.machine(second).wait_for_unit("etcd.service", FORMED)?;
    writer.succeed("sudo touch /run/enough")?;
    writer.wait_until_succeeds("! systemctl is-active load.service", SOON)?;
    let check = "etcdctl ls --quorum /load | sed 's#.*/##' | sort >/tmp/have; sort /run/acknowledged | comm -23 - /tmp/have";
    for machine in &machines {
        machine.wait_until_succeeds("curl -sf http://127.0.0.1:2379/health", SOON)?;
    }
    expect_output(writer, check, "")?;
    health(context, writer)
}

pub const TLS: Scenario = Scenario {
    name: "kv-tls",
    about: "with TLS a client without a certificate is refused, and certificates change without a restart",
    nodes: NODES,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    user_data: Some(include_str!("../../cloud-config/user-data.sample")),
    tls: true,
    run: tls,
    ..DEFAULTS
};

/// A client's configuration with and without a certificate.
const WITH: &str = "etcdctl --ca-file /etc/ssl/etcd/ca.pem --cert-file /etc/ssl/etcd/client.pem \
    --key-file /etc/ssl/etcd/client-key.pem --endpoints https://127.0.0.1:2379";
const WITHOUT: &str = "etcdctl --ca-file /etc/ssl/etcd/ca.pem --endpoints https://127.0.0.1:2379";

fn tls(context: &Context<'_>) -> Result<(), Failure> {
    let machines = form(context)?;
    let (one, two) = (&machines[0], &machines[1]);
    expect_output(one, &format!("{WITH} set /message Hello"), "Hello\n")?;
    expect_output(two, &format!("{WITH} get /message"), "Hello\n")?;
    let refused = one.fail(&format!("{WITHOUT} get /message"))?;
    expect(refused == "Error:  remote error: tls: bad certificate\n", "the refusal by TLS", &refused)?;
    one.fail("curl -s http://127.0.0.1:2379/v2/keys/message | grep Hello")?;
    one.fail("curl -s --cacert /etc/ssl/etcd/ca.pem https://127.0.0.1:2380/members")?;
    // fleet is a client like any other, and has its certificate.
    let fleet = "test $(fleetctl list-machines --no-legend | wc -l) = 3";
    one.wait_until_succeeds(fleet, SOON)?;
    let started = "systemctl show --property=ExecMainStartTimestampMonotonic etcd.service";
    let before = one.succeed(started)?;
    let certificate = "sha256sum /etc/ssl/etcd/member.pem /etc/ssl/etcd/ca.pem";
    let old = one.succeed(certificate)?;
    context.site.rotate(Rotate::Authority)?;
    let new = one.succeed(certificate)?;
    let same = old.lines().any(|line| new.contains(line));
    expect(!same, "a new certificate of a new authority", &new)?;
    expect_output(one, &format!("{WITH} set /message Again"), "Again\n")?;
    // Reconnecting peers use the new certificates.
    two.succeed("sudo systemctl restart etcd.service")?;
    two.wait_for_unit("etcd.service", FORMED)?;
    expect_output(two, &format!("{WITH} get --quorum /message"), "Again\n")?;
    two.wait_until_succeeds(fleet, SOON)?;
    // The list is what fleetd remembers, a write needs a connection: with the new certificates.
    two.wait_until_succeeds("fleetctl submit /usr/share/keelson/examples/tour.service", SOON)?;
    let after = one.succeed(started)?;
    expect(before == after, "no restart of the first member", &after)
}
