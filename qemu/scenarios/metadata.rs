//! Metadata services of clouds: machines with the platforms' OEM files get their configuration from the network.

mod cloud;
mod disks;
mod operator;
mod platforms;

use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Nspawn;
use machines::cluster::Datasource;
use machines::machine::Machine;
use machines::ready::Limit;

use super::kv::SOON;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;
pub use disks::{AZURE_DISK, EC2_DISK, GCE_DISK, OPENSTACK_DISK};
use operator::{Operator, write};
use platforms::{AZURE, AZURE_HEALTH, DIGITALOCEAN, EC2, GCE, OPENSTACK, PACKET};

/// The OEM partition; a container has none.
const OEM: &str = "/usr/share/oem";
const OEM_UNIT: &str = "oem-cloudinit.service";
/// How late the first service is.
const LATE: Duration = Duration::from_secs(40);
/// Longest pause between two attempts to reach a service.
const RETRIED: Duration = Duration::from_secs(30);

pub const SERVICES: Scenario = Scenario {
    name: "metadata-services",
    about: "machines are configured by the metadata services of DigitalOcean (40 s late), EC2, OpenStack (which fails at \
            first), Google (garbage at first), Packet and Azure, which is notified",
    on: &[Nspawn],
    datasource: Datasource::Platform,
    shared: &[OEM],
    run: services,
    ..DEFAULTS
};

fn services(context: &Context<'_>) -> Result<(), Failure> {
    let operator = Operator::join(context)?;
    let machine = &operator.machine;
    operator.insert(&DIGITALOCEAN)?;
    let started = Instant::now();
    let certificate = std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            std::thread::sleep(LATE);
            operator.cloud.listen()
        });
        machine.start()?;
        listening.join().unwrap_or_else(|_| Err(Failure::Expected("a thread that does not panic".to_owned())))
    })?;
    let took = started.elapsed();
    let in_time = took > LATE && took < LATE + RETRIED + SOON;
    expect(in_time, "a machine that waits for its service, and no longer", &format!("{took:?}"))?;
    operator.check(&DIGITALOCEAN)?;
    // Each attempt is in the journal while the machine waits.
    let attempts =
        operator.journal("Fetching data from http://169.254.169.254/metadata/v1. Attempt #")?.lines().count();
    expect(attempts >= 3, "several attempts in the journal", &attempts.to_string())?;

    operator.boot(&EC2)?;
    let requests = operator.cloud.requests();
    let tokens = requests.iter().filter(|request| *request == "PUT /latest/api/token").count();
    expect(tokens == 1, "one token for all requests", &requests.join("\n"))?;
    operator.boot(&OPENSTACK)?;
    operator.journal("HTTP status 500")?;
    operator.boot(&GCE)?;
    operator.trust(&certificate)?;
    operator.boot(&PACKET)?;
    operator.boot(&AZURE)?;
    azure_is_notified(&operator, 1)?;
    unusable_user_data(&operator)
}

/// Once in each of `boots`, when everything is applied. Azure takes the provisioning of a silent machine for failed.
fn azure_is_notified(operator: &Operator<'_>, boots: usize) -> Result<(), Failure> {
    operator.machine.wait_until_succeeds("systemctl is-active azure-ready.service", SOON)?;
    let requests = operator.cloud.requests();
    let reports: Vec<_> = requests.iter().filter(|request| request.contains(AZURE_HEALTH)).collect();
    let is_ready = |report: &&String| {
        ["<ContainerId>container-1<", "<InstanceId>instance-1<", "<State>Ready<"]
            .iter()
            .all(|part| report.contains(part))
    };
    let once = reports.len() == boots && reports.iter().all(is_ready);
    expect(once, &format!("{boots} reports that the machine is ready"), &requests.join("\n"))
}

/// Keys, name and addresses of the metadata apply, so that the operator can log in and read why the rest does not.
fn unusable_user_data(operator: &Operator<'_>) -> Result<(), Failure> {
    operator.machine.shut_down()?;
    operator.insert_with(&EC2, "\u{7f}ELF, uploaded by mistake\n")?;
    operator.machine.start()?;
    operator.identity(&EC2)?;
    let failed = operator.machine.succeed("systemctl --failed --no-legend --plain")?;
    expect(failed.starts_with("oem-cloudinit.service "), "that the unit failed", &failed)?;
    operator.journal("Unrecognized user-data format").map(drop)
}

/// Limit of a service that never responds, with the rest of the boot.
const ABSENT: Duration = Duration::from_secs(5 * 60);

pub const ABSENT_SERVICE: Scenario = Scenario {
    name: "metadata-absent",
    about: "where no metadata service responds, a machine with a cloud's OEM files waits five minutes, reports why, and \
            is configured by its config drive",
    on: &[Nspawn],
    long_on: &[Nspawn],
    shared: &[OEM],
    user_data: Some("#cloud-config\nwrite_files: [{path: /etc/from-the-drive, content: applied}]\n"),
    run: absent,
    ..DEFAULTS
};

fn absent(context: &Context<'_>) -> Result<(), Failure> {
    let folder = context.shared(1);
    write(&folder.join("cloud-config.yml"), DIGITALOCEAN.cloud_config)?;
    write(&folder.join("oem-release"), DIGITALOCEAN.release)?;
    // Nothing changes on the console meanwhile, which is the usual limit.
    let limit = Limit::Total(ABSENT + RETRIED + SOON);
    let machine = Machine::new(context.site, context.machine(1).name(), limit, slowdown);
    let ready = machine.start()?;
    // The runs of the OEM's cloud-config wait as long for the unit that they start.
    let failed = &ready.failed_units;
    let is_of_oem = |unit: &String| unit == OEM_UNIT || unit.starts_with("system-cloudinit@");
    let only_of_oem = failed.iter().any(|unit| unit == OEM_UNIT) && failed.iter().all(is_of_oem);
    expect(only_of_oem, "that only the OEM's units failed", &failed.join(" "))?;
    machine.succeed("grep -x applied /etc/from-the-drive")?;
    let journal = machine.succeed("sudo journalctl --no-pager -b -u oem-cloudinit.service")?;
    let attempts =
        journal.matches("Fetching data from http://169.254.169.254/metadata/v1. Attempt #").count();
    expect(attempts >= 5, "several attempts in the journal", &journal)?;
    let reason = "No datasources available in time: http://169.254.169.254/ does not respond as \
                  digitalocean-metadata-service";
    expect(journal.contains(reason), reason, &journal)
}
