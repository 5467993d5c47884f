//! Template units and the options of `[X-Fleet]`: scheduling, also after a machine dies.

use machines::cluster::BackendKind::Qemu;
use machines::machine::Machine;

use super::super::kv::{NODES, SOON, expect_output};
use super::cluster::{
    Member, form_with, put, start_each, ttl, user_data, wait_for_machines, wait_for_placement,
};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

pub const TEMPLATES: Scenario = Scenario {
    name: "fleet-templates",
    about: "instances, globals and metadata are placed by the rules, and again by the rules when a machine dies",
    nodes: NODES,
    by_name_on: &[Qemu],
    run: templates,
    ..DEFAULTS
};

/// Metadata by machine, and the API on a port, both by drop-ins as in the guides.
const UNITS: &str = r"    - name: fleet.service
      drop-ins:
        - name: 30-metadata.conf
          content: |
            [Service]
            Environment=FLEET_METADATA=hostname=%H,region=lab
    - name: fleet.socket
      drop-ins:
        - name: 30-ListenStream.conf
          content: |
            [Socket]
            ListenStream=127.0.0.1:49153
            Service=fleet.service
";

const RUNS: &str = "[Service]\nExecStart=/usr/bin/sleep infinity\n";

/// Three pairs of API servers whose halves never share a machine, and load balancers, at most one per machine.
const FILES: [(&str, &str); 7] = [
    ("api-a@.service", "Conflicts=api-b@%i.service"),
    // The conflict is declared by the other half.
    ("api-b@.service", "MachineMetadata=region=lab"),
    ("lb@.service", "X-Conflicts=lb@*.service"),
    ("spread@.service", "X-Conflicts=spread*.service"),
    ("sidekick.service", "X-ConditionMachineOf=api-a@1.service"),
    ("on@.service", "MachineMetadata=hostname=%i"),
    ("everywhere.service", "Global=true"),
];

fn templates(context: &Context<'_>) -> Result<(), Failure> {
    let with_ttl = [format!("agent-ttl: {}s", ttl(context).as_secs())];
    let members = form_with(context, &user_data(&with_ttl, UNITS))?;
    check_metadata(&members)?;
    let [dies, second, third] = &members;
    let client = &second.machine;
    for (name, rule) in FILES {
        put(client, name, &format!("{RUNS}\n[X-Fleet]\n{rule}\n"))?;
    }
    put(client, "pinned.service", &format!("{RUNS}\n[X-Fleet]\nMachineID={}\n", third.id))?;
    only_instances_run(client)?;

    // By load, then the lowest id; the other half of a pair must be elsewhere.
    let servers = [
        ("api-a@1", dies),
        ("api-b@1", second),
        ("api-a@2", third),
        ("api-b@2", dies),
        ("api-a@3", second),
        ("api-b@3", third),
        ("lb@1", dies),
        ("lb@2", second),
    ];
    start_each(client, &servers)?;
    let (lost, stays) = (format!("on@{}", dies.machine.name()), format!("on@{}", second.machine.name()));
    let bound = [("sidekick", dies), ("pinned", third), (&*lost, dies), (&*stays, second)];
    start_each(client, &bound)?;
    expect_output(client, "fleetctl start everywhere", "Triggered global unit everywhere.service start\n")?;
    start_each(client, &[("spread@1", third), ("spread@2", second), ("spread@3", dies)])?;
    expect_output(client, "fleetctl start --no-block spread@4", "Triggered unit spread@4.service start\n")?;
    let everywhere = [("everywhere", dies), ("everywhere", second), ("everywhere", third)];
    let spread = [("spread@1", third), ("spread@2", second), ("spread@3", dies)];
    wait_for_placement(client, &[&servers[..], &bound, &everywhere, &spread].concat())?;
    waiting(client, &["spread@4"])?;

    dies.machine.crash()?;
    wait_for_machines(client, &[second, third])?;
    // One machine remains eligible for each; a unit without an eligible machine waits.
    let moved =
        [("api-a@1", third), ("api-b@2", second), ("lb@1", third), ("sidekick", third), ("pinned", third)];
    let stayed = [
        ("api-b@1", second),
        ("api-a@2", third),
        ("api-a@3", second),
        ("api-b@3", third),
        ("lb@2", second),
        (&*stays, second),
        ("everywhere", second),
        ("everywhere", third),
        ("spread@1", third),
        ("spread@2", second),
    ];
    wait_for_placement(client, &[&moved[..], &stayed].concat())?;
    waiting(client, &["spread@3", "spread@4", &lost])
}

/// Checks the drop-ins' metadata on the port that another drop-in opened.
fn check_metadata(members: &[Member<'_>]) -> Result<(), Failure> {
    let rows = members.iter().map(|member| {
        let (short, address, name) = (member.short(), &member.address, member.machine.name());
        format!("{short}...\t{address}\thostname={name},region=lab\n")
    });
    let table = format!("MACHINE\t\tIP\t\tMETADATA\n{}", rows.collect::<String>());
    for flags in ["", "--endpoint http://127.0.0.1:49153 "] {
        expect_output(&members[0].machine, &format!("fleetctl {flags}list-machines"), &table)?;
    }
    Ok(())
}

fn only_instances_run(client: &Machine<'_>) -> Result<(), Failure> {
    client.succeed("fleetctl submit api-a@.service")?;
    let refused = client.fail("fleetctl start api-a@.service")?;
    let text = "Error loading units: googleapi: Error 400: cannot activate template \"api-a@.service\"\n";
    expect(refused == text, text, &refused)
}

/// Checks that these units wait for a machine, and that the reason is printed.
fn waiting(client: &Machine<'_>, units: &[&str]) -> Result<(), Failure> {
    for unit in units {
        let name = format!("{unit}.service");
        let row = format!(
            "fleetctl list-unit-files --no-legend --fields=unit,dstate,state,target | grep -P '^{name}\\tlaunched\\tinactive\\t-$'"
        );
        client.wait_until_succeeds(&row, SOON)?;
        let why = client.succeed(&format!("fleetctl explain {unit}"))?;
        expect(why.starts_with(&format!("{name}: no machine is eligible: ")), "a reason", &why)?;
    }
    Ok(())
}
