//! Metadata services of clouds: machines with the platforms' OEM files get their configuration from the network.

mod cloud;
mod platforms;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use machines::cluster::BackendKind::Nspawn;
use machines::cluster::Datasource;
use machines::keys;
use machines::machine::Machine;
use machines::ready::Limit;

use super::kv::SOON;
use crate::failure::{Failure, expect};
use crate::scenario::{Context, DEFAULTS, Scenario};
use crate::slowdown::slowdown;
use cloud::{Cloud, FABRIC, LINK_LOCAL};
use platforms::{AZURE, AZURE_HEALTH, DIGITALOCEAN, EC2, GCE, OPENSTACK, PACKET, Platform};

/// The OEM partition; a container has none.
const OEM: &str = "/usr/share/oem";
const OEM_UNIT: &str = "oem-cloudinit.service";
/// A key of the metadata that is not the harness's.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEtlZWxzb24gc2NlbmFyaW8sIG5vdCBhIHJlYWwga2V5";
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
    let machine = context.machine(1);
    let operator = Operator { context, machine: &machine, cloud: Cloud::join(context)? };
    operator.make_network()?;

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
    azure_is_notified(&operator)?;
    unusable_user_data(&operator)
}

/// Once in a boot, when everything is applied. Azure takes the provisioning of a silent machine for failed.
fn azure_is_notified(operator: &Operator<'_>) -> Result<(), Failure> {
    operator.machine.wait_until_succeeds("systemctl is-active azure-ready.service", SOON)?;
    let requests = operator.cloud.requests();
    let reports: Vec<_> = requests.iter().filter(|request| request.contains(AZURE_HEALTH)).collect();
    let is_ready = |report: &str| {
        ["<ContainerId>container-1<", "<InstanceId>instance-1<", "<State>Ready<"]
            .iter()
            .all(|part| report.contains(part))
    };
    let once = matches!(*reports, [report] if is_ready(report));
    expect(once, "one report that the machine is ready", &requests.join("\n"))
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

struct Operator<'a> {
    context: &'a Context<'a>,
    machine: &'a Machine<'a>,
    cloud: Cloud,
}

impl Operator<'_> {
    /// What DHCP does in a cloud: the route to the service, and its name server.
    fn make_network(&self) -> Result<(), Failure> {
        let node = self.machine.node()?;
        let etc = self.context.site.layout().node(&node.name).root().join("etc/upper");
        let route = |to| format!("[Route]\nDestination={to}/32\nScope=link\n");
        let settings = format!("[Network]\nDNS={LINK_LOCAL}\n{}{}", route(LINK_LOCAL), route(FABRIC));
        write(&etc.join("systemd/network/70-lan.network.d/cloud.conf"), &settings)
    }

    /// Replaces the OEM files and the service.
    fn insert(&self, platform: &Platform) -> Result<(), Failure> {
        self.insert_with(platform, &user_data(platform))
    }

    fn insert_with(&self, platform: &Platform, user_data: &str) -> Result<(), Failure> {
        let folder = self.context.shared(1);
        write(&folder.join("cloud-config.yml"), platform.cloud_config)?;
        write(&folder.join("oem-release"), platform.release)?;
        let own = keys::ensure(&self.context.site.layout().key(), "scenario")
            .map_err(|error| Failure::Expected(format!("a key pair: {error}")))?;
        let other = format!("{KEY} {}", platform.name);
        let machine = platforms::Machine { platform, keys: [&own, &other], user_data };
        self.cloud.become_service((platform.service)(&machine));
        Ok(())
    }

    /// Boots the machine on a platform.
    fn boot(&self, platform: &Platform) -> Result<(), Failure> {
        self.machine.shut_down()?;
        self.insert(platform)?;
        self.machine.start()?;
        self.check(platform)
    }

    fn check(&self, platform: &Platform) -> Result<(), Failure> {
        self.identity(platform)?;
        let Platform { name, private, public, .. } = platform;
        let applied =
            self.machine.succeed(&format!("cat /etc/from-{name}; systemctl is-active from-{name}"))?;
        expect(
            applied == format!("{private} {public}\nactive\n"),
            "the file and the unit of user-data",
            &applied,
        )?;
        let failed = self.machine.succeed("systemctl --failed --no-legend --plain")?;
        expect(failed.trim().is_empty(), "no failed unit", &failed)?;
        self.journal(&format!("Fetching user-data from datasource of type \"{}\"", platform.kind)).map(drop)
    }

    /// Checks what the metadata sets. That a command runs shows that its first key was installed.
    fn identity(&self, platform: &Platform) -> Result<(), Failure> {
        let Platform { name, host_name, private, public, .. } = platform;
        let host_name = host_name.split('.').next().unwrap_or_default();
        let seen = self.machine.succeed("cat /proc/sys/kernel/hostname")?;
        expect(seen.trim() == host_name, host_name, &seen)?;
        let keys = self.machine.read("/home/core/.ssh/authorized_keys")?;
        // The keys of the former platform are removed: they are of the same name.
        let others: Vec<_> = keys.lines().filter_map(|line| line.strip_prefix(KEY)).collect();
        expect(others == [format!(" {name}")], "the platform's other key alone", &keys)?;
        let environment = self.machine.read("/etc/environment")?;
        let known = [format!("COREOS_PRIVATE_IPV4={private}"), format!("COREOS_PUBLIC_IPV4={public}")];
        let has_all = known.iter().all(|line| environment.lines().any(|has| has == line));
        expect(has_all, &known.join(", "), &environment)?;
        let release = self.machine.read("/etc/oem-release")?;
        expect(release.lines().any(|line| line == format!("ID={name}")), name, &release)
    }

    /// Lines of the unit's journal in this boot; fails if there is none.
    fn journal(&self, text: &str) -> Result<String, Failure> {
        let command = format!("sudo journalctl --no-pager -b -u oem-cloudinit.service | grep -F '{text}'");
        Ok(self.machine.succeed(&command)?)
    }

    /// Makes programs of the machine trust a certificate, also at the next boots.
    fn trust(&self, certificate: &str) -> Result<(), Failure> {
        self.machine.write("/etc/ssl/certs/scenario.pem", certificate.as_bytes())?;
        let trusted = "openssl verify -no-CApath -CAfile /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/scenario.pem";
        self.machine.wait_until_succeeds(trusted, SOON).map(drop).map_err(Failure::from)
    }
}

/// With the addresses of the metadata.
fn user_data(platform: &Platform) -> String {
    let name = platform.name;
    format!(
        "#cloud-config\nwrite_files:\n- {{path: /etc/from-{name}, content: \"$private_ipv4 $public_ipv4\\n\"}}\n\
         coreos: {{units: [{{name: from-{name}.service, runtime: true, command: start, \
         content: \"[Service]\\nExecStart=/bin/sleep inf\\n\"}}]}}\n"
    )
}

fn write(path: &Path, content: &str) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, content))
        .map_err(|source| Failure::Disk { path: path.into(), source })
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
