//! Root on a machine tries to reach services on the host's loopback that the host does not offer.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::scenarios::network::{GREETING, host_address, serve_greeting};

pub const LOOPBACK: Scenario = Scenario {
    name: "attack-loopback",
    about: "a machine reaches the networks of the host, but of its loopback only the ports that the host offers",
    outbound: true,
    run: loopback,
    ..DEFAULTS
};

const SOON: Duration = Duration::from_secs(180);

/// The gateway of the user network, and the one that QEMU has for IPv6.
const GATEWAYS: [&str; 2] = ["10.0.2.2", "fec0::2"];
/// An address of the host's loopback that is not the machine's own once the route of [`AS_IT_IS`] is set.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
/// The gateway of the namespace between the machine's user network and the host's networks.
const SECOND_GATEWAY: &str = "10.0.2.130";
/// Sends packets for [`ADDRESS`] and [`SECOND_GATEWAY`] to the gateway with those destinations, and accepts the responses.
const AS_IT_IS: &str = r#"sudo sh -ec '
    device=$(ip -4 route show default via 10.0.2.2 | sed -n "s/.* dev \([^ ]*\).*/\1/p")
    for name in all "$device"; do
        echo 1 >/proc/sys/net/ipv4/conf/$name/route_localnet
        echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter
    done
    ip -4 route del local 127.0.0.0/8 dev lo table local
    ip -4 route add 127.77.0.1 via 10.0.2.2 dev "$device"
    ip -4 route add 10.0.2.130 via 10.0.2.2 dev "$device"'"#;

fn loopback(context: &Context<'_>) -> Result<(), Failure> {
    let address = host_address()?;
    let beyond = serve_greeting(address)?;
    let offered = serve_greeting(Ipv4Addr::LOCALHOST.into())?;
    let on_ipv4 = serve_greeting(Ipv4Addr::LOCALHOST.into())?;
    let on_ipv6 = serve_greeting(Ipv6Addr::LOCALHOST.into())?;
    let packets = serve_greeting(ADDRESS.into())?;
    context.site.expose_host_port(offered)?;
    context.boot()?;
    let machine = context.machine(1);
    let read = |address: &str, port: u16| format!("timeout 5 bash -c 'cat </dev/tcp/{address}/{port}'");
    // The machine has an uplink: what fails below is not out of reach for lack of one.
    let heard = machine.wait_until_succeeds(&read(&address.to_string(), beyond), SOON)?;
    expect(heard == GREETING, GREETING, &heard)?;
    let heard = machine.succeed(&read("host.keelson", offered))?;
    expect(heard == GREETING, GREETING, &heard)?;
    let reached = |address: &str, port: u16| -> Result<bool, Failure> {
        let attack = format!("{} | grep --fixed-strings '{GREETING}'", read(address, port));
        Ok(machine.execute(&attack)?.code == 0)
    };
    let mut successes = Vec::new();
    for port in [on_ipv4, on_ipv6] {
        for name in GATEWAYS.into_iter().chain(["host.keelson", &address.to_string()]) {
            if reached(name, port)? {
                successes.push(format!("{name} port {port}"));
            }
        }
    }
    machine.succeed(AS_IT_IS)?;
    for (name, port) in [(ADDRESS.to_string().as_str(), packets), (SECOND_GATEWAY, on_ipv4)] {
        if reached(name, port)? {
            successes.push(format!("packets for {name}"));
        }
    }
    expect(successes.is_empty(), "no port of the host's loopback", &successes.join(", "))
}
