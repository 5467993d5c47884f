//! Measures a network boot beside a boot from the disk, for `cargo xtask bench netboot`.

use std::fs;
use std::io::ErrorKind;
use std::time::Instant;

use machines::cluster::BackendKind::Qemu;
use machines::cluster::{BootSource, NetworkFirmware};

use super::netboot::{MEMORY, serve};
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};

/// In turn, since the host has other load.
const ROUNDS: usize = 3;
const TARGET: &str = "<= 1.5 times";
const FIRMWARE: NetworkFirmware = NetworkFirmware::Http;

pub const NETBOOT_TIME: Scenario = Scenario {
    name: "netboot-time",
    about: "prints the cost of UEFI's HTTP boot from serve-netboot beside that of a first boot from the disk",
    on: &[Qemu],
    by_name_on: &[Qemu],
    qemu_arguments: MEMORY,
    run: measure,
    ..DEFAULTS
};

/// Seconds from power-on until the machine is ready: elapsed, and of QEMU's processors.
#[derive(Debug, Clone, Copy)]
struct Cost {
    time: f64,
    processor: f64,
}

fn measure(context: &Context<'_>) -> Result<(), Failure> {
    let _server = serve(context, FIRMWARE, "")?;
    // The firmware prefers the network's offer: the machine is the same in both cases, with its disk.
    context.site.replace_image(&context.run.image.raw)?;
    let (mut network, mut disk) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        for (source, costs) in [(BootSource::Network(FIRMWARE), &mut network), (BootSource::Disk, &mut disk)]
        {
            let is_network = source != BootSource::Disk;
            context.site.set_boot_source(source)?;
            let cost = boot(context, is_network)?;
            let from = if is_network { "network" } else { "disk" };
            eprintln!(
                "round {round} of {ROUNDS}, {from}: {:.1} s, processor {:.1} s",
                cost.time, cost.processor
            );
            costs.push(cost);
        }
    }
    let both = [&network, &disk];
    print(
        "network boot (UEFI's HTTP boot, serve-netboot on the machine's LAN) until ready, beside the first boot of the \
         same machine from its disk: time",
        TARGET,
        both.map(|costs| values(costs, |cost| cost.time)),
    );
    print("the same, processor seconds", "", both.map(|costs| values(costs, |cost| cost.processor)));
    Ok(())
}

/// Boots a machine whose disk is new.
fn boot(context: &Context<'_>, is_network: bool) -> Result<Cost, Failure> {
    let machine = context.machine(1);
    machine.crash()?;
    for file in context.site.layout().node(machine.name()).persistent_files() {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Failure::Disk { path: file, source: error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    let started = Instant::now();
    machine.start()?;
    let time = started.elapsed().as_secs_f64();
    let used = context.site.processor_time(machine.name())?;
    let processor = used.map_or(0.0, |used| used.as_secs_f64());
    let root = machine.succeed("findmnt --noheadings --output FSTYPE /")?;
    expect((root.trim() == "tmpfs") == is_network, "the root file system of this boot", &root)?;
    eprint!("{}", machine.succeed("systemd-analyze time")?);
    Ok(Cost { time, processor })
}

fn values(costs: &[Cost], of: fn(&Cost) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A line for the benchmark's table.
fn print(what: &str, target: &str, [network, disk]: [Vec<f64>; 2]) {
    let median = |values: &[f64]| values.get(values.len() / 2).copied().unwrap_or_default();
    let list =
        |values: &[f64]| values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ");
    println!(
        "figure\t{what}\t{target}\t{:.2} times: {:.1} s ({}) against {:.1} s ({})",
        median(&network) / median(&disk),
        median(&network),
        list(&network),
        median(&disk),
        list(&disk)
    );
}
