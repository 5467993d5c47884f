//! Fixture of the functional tests: the cluster, its unit files, commands, and waits.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use machines::cluster::BackendKind;
use machines::machine::Machine;
use machines::site::Site;

use super::super::super::kv::SOON;
use super::super::cluster::{Member, boot_each, copy_key, wait_for_cluster, wait_for_machines, with_agent};
use crate::failure::{Failure, expect};
use crate::scenario::Context;

/// Guest path of the unit files and working directory of the commands: the first shared folder.
pub const UNITS: &str = "/home/core/units";

/// The API on the port that the original's tests use.
pub const API: &str = "    - name: fleet.socket
      drop-ins:
        - name: 30-ListenStream.conf
          content: |
            [Socket]
            ListenStream=127.0.0.1:54728
            Service=fleet.service
";
pub const ENDPOINT: &str = "http://127.0.0.1:54728";

/// The line that units print each second.
pub const LINE: &str = "one more second";
pub const SERVICE: &str = "\
[Unit]
Description=A unit of the functional tests

[Service]
ExecStart=/usr/bin/bash -c 'while :; do echo one more second; sleep 1; done'
";

/// Names of the units, and their `[X-Fleet]` sections.
const FILES: [(&str, &str); 16] = [
    ("hello.service", ""),
    ("hello@.service", ""),
    ("other@.service", ""),
    ("on@.service", "MachineMetadata=hostname=%i"),
    ("ping@.service", ""),
    ("pong@.service", "MachineOf=ping@%i.service"),
    ("conflict@.service", "Conflicts=conflict@*.service"),
    ("conflicts-with-hello.service", "Conflicts=hello.service"),
    (
        "apart-in-a-line@.service",
        r#"Conflicts="apart-in-a-line@[12].service" "apart-in-a-line@[34].service""#,
    ),
    (
        "apart-in-lines@.service",
        "Conflicts=apart-in-lines@[12].service\nConflicts=apart-in-lines@[34].service",
    ),
    ("replace.0.service", ""),
    ("replace-kick0.service", "Replaces=replace.0.service"),
    ("circular@1.service", "Replaces=circular@2.service"),
    ("circular@2.service", "Replaces=circular@1.service"),
    ("everywhere@.service", "Global=true"),
    ("conflicts-with-everywhere.service", "Global=true\nConflicts=everywhere@1.service"),
];

/// The presence TTL: on emulated machines the original's default. Elsewhere it exceeds the 3 s of the original's
/// tests: a host disk that stalls etcd for as long would stop units.
pub fn ttl(context: &Context<'_>) -> Duration {
    Duration::from_secs(match context.backend {
        BackendKind::Nspawn => 6,
        BackendKind::Qemu => 30,
    })
}

/// Limit of each wait: twice that of the original's tests, whose machines did not share processors.
fn limit(context: &Context<'_>) -> Duration {
    match context.backend {
        BackendKind::Nspawn => Duration::from_secs(30),
        BackendKind::Qemu => SOON,
    }
}

/// A row of `list-units`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub unit: String,
    /// The machine id.
    pub machine: String,
    pub active: bool,
}

pub struct Fixture<'a> {
    pub site: &'a Site,
    pub ttl: Duration,
    pub limit: Duration,
    /// By number. Commands run on the first one, which no test switches off.
    pub members: Vec<Member<'a>>,
    /// The machine that runs etcd, if it is not a member.
    pub store: Option<String>,
    /// Host path of the unit files.
    pub folder: PathBuf,
    user_data: Vec<String>,
}

impl<'a> Fixture<'a> {
    /// Boots all machines, each with etcd and fleetd by its user-data.
    pub fn form(context: &Context<'a>, user_data: impl Fn(&str) -> String) -> Result<Self, Failure> {
        boot_each(context, &user_data)?;
        let mut members = wait_for_cluster(context)?;
        members.sort_by(|one, other| one.machine.name().cmp(other.machine.name()));
        let user_data = members.iter().map(|member| user_data(member.machine.name())).collect();
        Self::new(context, members, None, user_data)
    }

    pub fn new(
        context: &Context<'a>,
        members: Vec<Member<'a>>,
        store: Option<String>,
        user_data: Vec<String>,
    ) -> Result<Self, Failure> {
        let folder = context.shared(1);
        let (ttl, limit) = (ttl(context), limit(context));
        let fixture = Self { site: context.site, ttl, limit, members, store, folder, user_data };
        for (name, rule) in FILES {
            let rule = if rule.is_empty() { String::new() } else { format!("\n[X-Fleet]\n{rule}\n") };
            fixture.write(name, &format!("{SERVICE}{rule}"))?;
        }
        copy_key(context.site, fixture.client())?;
        Ok(fixture)
    }

    /// Writes a unit file into the working directory of the commands.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(|source| Failure::Disk { path, source })
    }

    pub fn client(&self) -> &Machine<'a> {
        &self.members[0].machine
    }

    /// Runs a command in the folder of unit files and returns its output; fails if the command does.
    pub fn run(&self, command: &str) -> Result<String, Failure> {
        Ok(self.client().succeed(&format!("cd {UNITS} && timeout 60 {command}"))?)
    }

    pub fn fleetctl(&self, arguments: &str) -> Result<String, Failure> {
        self.run(&format!("fleetctl {arguments}"))
    }

    /// Runs fleetctl with the cluster's key in an agent and without host key checking.
    pub fn fleetctl_by_ssh(&self, arguments: &str) -> Result<String, Failure> {
        self.run(&with_agent(&format!("fleetctl --strict-host-key-checking=false {arguments}")))
    }

    pub fn member(&self, id: &str) -> Result<&Member<'a>, Failure> {
        let found = self.members.iter().find(|member| member.id == id);
        found.ok_or_else(|| Failure::Expected(format!("expected a machine of the cluster; seen: {id}")))
    }

    /// Polls until the result satisfies `is_satisfied`.
    pub fn until<T>(
        &self,
        what: &str,
        mut observe: impl FnMut() -> Result<T, Failure>,
        is_satisfied: impl Fn(&T) -> bool,
    ) -> Result<T, Failure>
    where
        T: std::fmt::Debug,
    {
        let deadline = Instant::now() + self.limit;
        loop {
            let observed = observe()?;
            if is_satisfied(&observed) {
                return Ok(observed);
            }
            if Instant::now() > deadline {
                let what = format!("{what} within {:?}", self.limit);
                return expect(false, &what, &format!("{observed:?}")).map(|()| observed);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Parses the output of `list-units`.
    pub fn rows(&self) -> Result<Vec<Row>, Failure> {
        let text = self.fleetctl("list-units --full --no-legend --fields=unit,machine,active")?;
        let row = |line: &str| {
            let [unit, machine, active] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
            let machine = machine.split('/').next().unwrap_or_default().to_owned();
            Some(Row { unit: String::from(unit), machine, active: active == "active" })
        };
        let rows: Option<Vec<_>> = text.lines().map(row).collect();
        rows.ok_or_else(|| Failure::Expected(format!("expected rows of three fields; seen: {text}")))
    }

    /// Waits until `count` units are active and returns their rows; other rows must be inactive.
    pub fn active(&self, count: usize) -> Result<Vec<Row>, Failure> {
        let observe = || Ok(self.rows()?.into_iter().filter(|row| row.active).collect::<Vec<_>>());
        self.until(&format!("{count} active"), observe, |rows| rows.len() == count)
    }

    /// Waits until `list-units` has `count` rows.
    pub fn loaded(&self, count: usize) -> Result<Vec<Row>, Failure> {
        self.until(&format!("{count} loaded"), || self.rows(), |rows| rows.len() == count)
    }

    /// Waits until `count` units exist.
    pub fn listed(&self, count: usize) -> Result<Vec<String>, Failure> {
        let observe = || {
            let text = self.fleetctl("list-unit-files --no-legend --fields=unit")?;
            Ok(text.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        self.until(&format!("{count} units"), observe, |units| units.len() == count)
    }

    /// Waits for a full reconciliation by the engine: it has scheduled a unit that was started later.
    pub fn wait_for_reconciliation(&self, unit: &str) -> Result<(), Failure> {
        let observe = || self.rows();
        self.fleetctl(&format!("start {unit}"))?;
        self.until(unit, observe, |rows| {
            rows.iter().any(|row| row.unit == format!("{unit}.service") && row.active)
        })?;
        Ok(())
    }

    /// Running processes of the units, by unit name and process id, as their machines report them.
    pub fn processes(&self, pattern: &str) -> Result<Vec<String>, Failure> {
        let show = format!(
            "for unit in $(systemctl list-units --no-legend --plain --state=active '{pattern}' | cut -d' ' -f1); \
             do echo $HOSTNAME $unit $(systemctl show --property=MainPID --value $unit); done"
        );
        let mut all = Vec::new();
        for member in &self.members {
            all.extend(member.machine.succeed(&show)?.lines().map(str::to_owned));
        }
        Ok(all)
    }

    /// Resizes the cluster to the first `count` machines by stopping fleetd on the others.
    pub fn size(&self, count: usize) -> Result<(), Failure> {
        for (index, member) in self.members.iter().enumerate() {
            let word = if index < count { "start" } else { "stop" };
            member.machine.succeed(&format!("sudo systemctl {word} fleet.service"))?;
        }
        let present: Vec<_> = self.members.iter().take(count).collect();
        wait_for_machines(self.client(), &present)
    }

    /// Starts a machine that was switched off, and waits until it serves.
    pub fn start(&self, member: &Member<'a>) -> Result<(), Failure> {
        let own = self.members.iter().zip(&self.user_data).find(|(known, _)| known.id == member.id);
        if let Some((_, user_data)) = own {
            self.site.set_user_data(user_data.as_bytes())?;
        }
        member.machine.start()?;
        Ok(())
    }

    /// Destroys all units, waits until no trace remains, and starts fleetd on all machines.
    pub fn clear(&self) -> Result<(), Failure> {
        const REMNANTS: &str = "fleetctl list-unit-files --no-legend && fleetctl list-units --no-legend";
        // etcd may be electing a leader after the previous test.
        let destroy =
            "fleetctl list-unit-files --no-legend --fields=unit | xargs --no-run-if-empty fleetctl destroy";
        self.client().wait_until_succeeds(destroy, self.limit)?;
        self.until("no unit", || Ok(self.client().succeed(REMNANTS)?), String::is_empty)?;
        let tidy = |member: &Member<'a>| -> Result<(), Failure> {
            let remnants =
                member.machine.succeed("sudo systemctl start fleet.service && ls /run/fleet/units")?;
            expect(remnants.is_empty(), &format!("no unit's file on {}", member.machine.name()), &remnants)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = self.members.iter().map(|member| scope.spawn(|| tidy(member))).collect();
            let panicked = |_| Err(Failure::Expected("a machine could not be asked".to_owned()));
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
        })?;
        wait_for_machines(self.client(), &self.members.iter().collect::<Vec<_>>())
    }
}

/// Number of distinct machines of these rows.
pub fn machines(rows: &[Row]) -> usize {
    rows.iter().map(|row| &row.machine).collect::<std::collections::BTreeSet<_>>().len()
}
