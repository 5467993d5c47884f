//! Networks of a machine: the cluster's LAN, on which machines resolve each other and can be cut off, and the host.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

use machines::cluster::BackendKind::{Nspawn, Qemu};
use machines::site::SiteError;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

const SOON: Duration = Duration::from_secs(180);

pub const LAN: Scenario = Scenario {
    name: "lan",
    about: "machines reach each other on their LAN by address and by name",
    nodes: 2,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: lan,
    ..DEFAULTS
};

fn lan(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    for (from, to) in [(1, 2), (2, 1)] {
        let (from, to) = (context.machine(from), context.machine(to));
        let node = to.node()?;
        from.wait_until_succeeds(&format!("sudo ping -c 1 -W 2 {}", node.address), SOON)?;
        let by_name = format!("sudo ping -4 -c 1 -W 2 {} | grep -F '({})'", node.name, node.address);
        from.wait_until_succeeds(&by_name, SOON)?;
    }
    dead_switch(context)
}

/// `up` restarts a LAN's switch that was killed while the machines ran.
fn dead_switch(context: &Context<'_>) -> Result<(), Failure> {
    let (one, two) = (context.machine(1), context.machine(2));
    let ping = format!("sudo ping -c 1 -W 2 {}", two.node()?.address);
    let Some(switch) = context.site.cluster().lan else {
        return expect(false, "a switch that serves the LAN", "none");
    };
    switch.kill().map_err(SiteError::from)?;
    one.fail(&ping)?;
    context.site.up(context.site.default_limit(), &|_| ())?;
    one.wait_until_succeeds(&ping, SOON)?;
    Ok(())
}

pub const PARTITION: Scenario = Scenario {
    name: "partition",
    about: "a machine that is cut off the LAN reaches nobody until it is healed, and ssh still works",
    nodes: 2,
    long_on: &[Qemu],
    by_name_on: &[Qemu],
    run: partition,
    ..DEFAULTS
};

fn partition(context: &Context<'_>) -> Result<(), Failure> {
    context.boot()?;
    let (one, two) = (context.machine(1), context.machine(2));
    let ping = |address: std::net::Ipv4Addr| format!("sudo ping -c 1 -W 2 {address}");
    let (to_one, to_two) = (ping(one.node()?.address), ping(two.node()?.address));
    one.wait_until_succeeds(&to_two, SOON)?;
    two.partition()?;
    one.fail(&to_two)?;
    two.fail(&to_one)?;
    two.heal()?;
    one.wait_until_succeeds(&to_two, SOON)?;
    two.wait_until_succeeds(&to_one, SOON)?;
    Ok(())
}

/// What the test serves.
pub const GREETING: &str = "greetings from the host";
/// An address of the documentation's networks (RFC 5737), which is behind the default route.
const DISTANT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

pub const HOST: Scenario = Scenario {
    name: "host",
    about: "machines reach what the host offers as host.keelson, and a shared folder is one on both sides",
    nodes: 2,
    long_on: &[Qemu],
    shared: &["/home/core/share"],
    run: host,
    ..DEFAULTS
};

/// Serves [`GREETING`] on a port of one of the host's addresses.
pub fn serve_greeting(address: IpAddr) -> Result<u16, Failure> {
    let failed = |source| Failure::Disk { path: address.to_string().into(), source };
    let listener = TcpListener::bind((address, 0)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    std::thread::spawn(move || {
        while let Ok((mut caller, _)) = listener.accept() {
            // A machine that disconnects early fails its own command.
            drop(caller.write_all(GREETING.as_bytes()));
        }
    });
    Ok(port)
}

fn host(context: &Context<'_>) -> Result<(), Failure> {
    let failed = |path: &str| {
        let path = path.into();
        move |source| Failure::Disk { path, source }
    };
    let port = serve_greeting(Ipv4Addr::LOCALHOST.into())?;
    context.site.expose_host_port(port)?;
    let ours = context.shared(1);
    let path = ours.display().to_string();
    std::fs::write(ours.join("from-host"), GREETING).map_err(failed(&path))?;
    context.boot()?;
    for number in [1, 2] {
        let machine = context.machine(number);
        let heard = machine.succeed(&format!("cat </dev/tcp/host.keelson/{port}"))?;
        expect(heard == GREETING, GREETING, &heard)?;
        machine.wait_until_succeeds("mountpoint -q /home/core/share", SOON)?;
        let read = machine.succeed("cat /home/core/share/from-host")?;
        expect(read == GREETING, GREETING, &read)?;
        machine.succeed(&format!("echo here | sudo tee /home/core/share/from-{number}"))?;
        let written = std::fs::read_to_string(ours.join(format!("from-{number}"))).map_err(failed(&path))?;
        expect(written == "here\n", "what the machine wrote", &written)?;
    }
    Ok(())
}

pub const OUTBOUND: Scenario = Scenario {
    name: "outbound",
    about: "a container reaches the host's networks through its uplink, before and after a reboot, but not its loopback",
    on: &[Nspawn],
    outbound: true,
    run: outbound,
    ..DEFAULTS
};

/// The host's address on its default route. No packet is sent.
pub fn host_address() -> Result<IpAddr, Failure> {
    let of_route = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((DISTANT, 9))?;
        socket.local_addr()
    };
    let address = of_route().map_err(|error| Failure::Unavailable(format!("no default route: {error}")))?;
    Ok(address.ip())
}

fn outbound(context: &Context<'_>) -> Result<(), Failure> {
    // Through the uplink to the host itself: no traffic leaves it.
    let address = host_address()?;
    let port = serve_greeting(address)?;
    let on_loopback = serve_greeting(Ipv4Addr::LOCALHOST.into())?;
    context.boot()?;
    let machine = context.machine(1);
    let greeting = format!("cat </dev/tcp/{address}/{port}");
    let reached = || {
        let output = machine.wait_until_succeeds(&greeting, SOON)?;
        expect(output == GREETING, GREETING, &output)
    };
    reached()?;
    // Services that the host offers are relayed one by one; none is in this scenario.
    machine.fail(&format!("timeout 5 cat </dev/tcp/10.0.2.2/{on_loopback}"))?;
    machine.fail(&format!("timeout 5 cat </dev/tcp/host.keelson/{on_loopback}"))?;
    let route = machine.succeed("ip -4 route show default; resolvectl dns uplink0")?;
    expect(route.contains("default via 10.0.2.2 dev uplink0"), "the default route", &route)?;
    expect(route.contains("10.0.2.3"), "the name server", &route)?;
    let address = machine.succeed("grep ^COREOS_PRIVATE_IPV4= /etc/environment")?;
    let own = machine.node()?.address;
    expect(address.trim().ends_with(&format!("={own}")), "the address on the LAN", &address)?;
    machine.reboot()?;
    reached()
}
