//! Members as processes: started, killed, paused and restarted by process id.
//!
//! It kills only processes that it started, and leaves none running.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::Network;
use super::program::{Placeholders, Program};
use crate::failure::Failure;
use crate::http::{self, Request};

/// Limit until every member serves a quorum read. The first election alone may take seconds.
const START_LIMIT: Duration = Duration::from_secs(30);
const REQUEST_LIMIT: Duration = Duration::from_millis(1500);
const POLL: Duration = Duration::from_millis(5);
/// A case requires that the store index was unchanged for this long.
const QUIET: Duration = Duration::from_millis(600);
const LOG_TAIL: usize = 2000;

#[derive(Debug, Clone)]
pub struct Plan {
    pub program: Program,
    pub members: usize,
    /// Data and logs are written below it; benchmarks measure its disk.
    pub folder: PathBuf,
}

pub struct Cluster {
    plan: Plan,
    pub(super) members: Vec<Member>,
    /// Removed on drop.
    pub(super) folder: tempfile::TempDir,
    network: Option<Network>,
}

pub(super) struct Member {
    pub name: String,
    client: SocketAddr,
    pub peer: SocketAddr,
    /// Where clients connect with TLS.
    secure: Option<SocketAddr>,
    pub process: Option<Child>,
    /// It is added to the running cluster, not one of its initial members.
    pub joins: bool,
    /// Removed from the cluster: omitted from the member lists of others.
    pub removed: bool,
}

impl Member {
    pub fn new(number: usize, client: SocketAddr, peer: SocketAddr) -> Self {
        let name = format!("n{}", number + 1);
        Self { name, client, peer, secure: None, process: None, joins: false, removed: false }
    }
}

impl Cluster {
    /// Returns when every member serves quorum reads.
    pub fn start(plan: &Plan) -> Result<Self, Failure> {
        let cluster = Self::launch(plan)?;
        cluster.wait_until_serving()?;
        Ok(cluster)
    }

    /// Returns as soon as the processes run.
    pub fn launch(plan: &Plan) -> Result<Self, Failure> {
        let mut cluster = Self::prepare(plan, None)?;
        cluster.run_all()?;
        Ok(cluster)
    }

    /// Starts each member in a separate network namespace.
    pub fn start_in(network: Network, plan: &Plan) -> Result<Self, Failure> {
        let mut cluster = Self::prepare(plan, Some(network))?;
        cluster.run_all()?;
        cluster.wait_until_serving()?;
        Ok(cluster)
    }

    /// Allocates addresses and folders; starts nothing.
    pub fn prepare(plan: &Plan, network: Option<Network>) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("conformance-")
            .tempdir_in(&plan.folder)
            .map_err(Failure::io("make a folder for the members"))?;
        let mut members: Vec<Member> = match &network {
            None => {
                let ports = free_addresses(plan.members * 2)?;
                let pairs = ports.chunks(2).enumerate();
                pairs.map(|(number, pair)| Member::new(number, pair[0], pair[1])).collect()
            }
            Some(network) => (0..plan.members)
                .map(|number| {
                    let address = network.address(number);
                    Member::new(number, (address, 2379).into(), (address, 2380).into())
                })
                .collect(),
        };
        if plan.program.certificates.is_some() {
            for (member, address) in members.iter_mut().zip(free_addresses(plan.members)?) {
                member.secure = Some(address);
            }
        }
        Ok(Self { plan: plan.clone(), members, folder, network })
    }

    pub fn run_all(&mut self) -> Result<(), Failure> {
        (0..self.members.len()).try_for_each(|number| self.run(number))
    }

    /// Servers that are already running: they can be queried, not killed.
    pub fn running(addresses: &[SocketAddr]) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(Failure::io("make a folder"))?;
        let plan =
            Plan { program: Program::local(""), members: addresses.len(), folder: folder.path().into() };
        let member =
            |address: &SocketAddr| Member { name: address.to_string(), ..Member::new(0, *address, *address) };
        Ok(Self { plan, members: addresses.iter().map(member).collect(), folder, network: None })
    }

    /// The members' network, if they have a separate one.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// Where clients connect with TLS.
    pub fn secure_addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().filter_map(|member| member.secure).collect()
    }

    /// Starts member `number` with its existing data.
    pub fn run(&mut self, number: usize) -> Result<(), Failure> {
        let scheme = if self.plan.program.certificates.is_some() { "https" } else { "http" };
        let each = |member: &Member| format!("{}={scheme}://{}", member.name, member.peer);
        let initial = self.members.iter().enumerate().filter(|(other, m)| {
            // A member's initial list excludes members that were added after it.
            !m.removed && (*other <= number || !m.joins)
        });
        let all = initial.map(|(_, member)| each(member)).collect::<Vec<_>>().join(",");
        let member = &mut self.members[number];
        let data = self.folder.path().join(&member.name);
        let (client, peer) = (member.client.to_string(), member.peer.to_string());
        let secure = member.secure.map(|address| address.to_string()).unwrap_or_default();
        let placeholders = Placeholders {
            name: &member.name,
            data: &data,
            client: &client,
            peer: &peer,
            cluster: &all,
            secure: &secure,
        };
        let log = log_path(self.folder.path(), &member.name);
        let out = File::options().create(true).append(true).open(&log).map_err(Failure::io("make a log"))?;
        let errors = out.try_clone().map_err(Failure::io("share a log"))?;
        let program = &self.plan.program;
        let mut command = match &self.network {
            None => Command::new(&program.path),
            Some(network) => network.command(number, &program.path),
        };
        if member.joins {
            command.env("ETCD_INITIAL_CLUSTER_STATE", "existing");
        }
        let process = command
            .args(program.fill(&placeholders))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .map_err(Failure::io(format!("run {}", program.path.display())))?;
        member.process = Some(process);
        Ok(())
    }

    /// Sends SIGKILL, and waits for the process.
    pub fn kill(&mut self, number: usize) -> Result<(), Failure> {
        self.end(number, Signal::SIGKILL)
    }

    /// Sends SIGTERM, and waits for the process.
    pub fn stop(&mut self, number: usize) -> Result<(), Failure> {
        self.end(number, Signal::SIGTERM)
    }

    pub fn pause(&self, number: usize) -> Result<(), Failure> {
        self.signal(number, Signal::SIGSTOP)
    }

    pub fn resume(&self, number: usize) -> Result<(), Failure> {
        self.signal(number, Signal::SIGCONT)
    }

    /// Resident memory of member `number` in bytes; 0 if it does not run.
    pub fn memory(&self, number: usize) -> Result<u64, Failure> {
        let Some(process) = &self.members[number].process else { return Ok(0) };
        let path = format!("/proc/{}/status", process.id());
        let text = fs::read_to_string(&path).map_err(Failure::io(format!("read {path}")))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.map(|count| count * 1024).ok_or_else(|| Failure::differs(format!("{path} has no VmRSS")))
    }

    /// Total processor time of the running members.
    pub fn processor_time(&self) -> Result<Duration, Failure> {
        let mut ticks = 0;
        for process in self.members.iter().filter_map(|member| member.process.as_ref()) {
            let path = format!("/proc/{}/stat", process.id());
            let text = fs::read_to_string(&path).map_err(Failure::io(format!("read {path}")))?;
            // Fields after the name, which may contain anything: utime and stime are the 12th and 13th.
            let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
            let times = rest.split_whitespace().skip(11).take(2);
            ticks += times.filter_map(|number| number.parse::<u64>().ok()).sum::<u64>();
        }
        // Clock ticks are hundredths of a second on Linux.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// The member that reports itself as leader.
    pub fn leader(&self) -> Result<usize, Failure> {
        let deadline = Instant::now() + START_LIMIT;
        let request = Request::new("GET", "/v2/stats/self");
        loop {
            for (number, member) in self.members.iter().enumerate().filter(|(_, m)| m.process.is_some()) {
                if let Ok(response) = http::exchange(member.client, &request, REQUEST_LIMIT)
                    && response.text().contains("\"StateLeader\"")
                {
                    return Ok(number);
                }
            }
            if Instant::now() > deadline {
                return Err(self.server_failure("has no member that says that it leads"));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until each running member serves a quorum read and the store index is stable.
    pub fn wait_until_serving(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + START_LIMIT;
        let mut steady: (Option<u64>, Instant) = (None, Instant::now());
        let mut last_failure = String::from("nothing");
        while Instant::now() < deadline {
            let (mut lowest, mut all) = (u64::MAX, true);
            for (number, member) in self.members.iter().enumerate().filter(|(_, m)| m.process.is_some()) {
                let request = Request::new("GET", "/v2/keys/?quorum=true");
                match http::exchange(member.client, &request, REQUEST_LIMIT) {
                    Ok(response) if response.status == 200 => {
                        lowest = lowest.min(response.index().unwrap_or(0))
                    }
                    Ok(response) => {
                        (all, last_failure) = (false, format!("{}: {}", number + 1, response.text()))
                    }
                    Err(error) => (all, last_failure) = (false, format!("{}: {error}", number + 1)),
                }
            }
            if !all || steady.0 != Some(lowest) {
                steady = (all.then_some(lowest), Instant::now());
            } else if steady.1.elapsed() >= QUIET {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(self.server_failure(&format!("does not serve; last seen from member {last_failure}")))
    }

    pub(super) fn server_failure(&self, why: &str) -> Failure {
        let mut log = String::new();
        for member in &self.members {
            let text = fs::read_to_string(log_path(self.folder.path(), &member.name)).unwrap_or_default();
            let tail: Vec<char> = text.chars().rev().take(LOG_TAIL).collect();
            log += &format!("{}: {}\n", member.name, tail.iter().rev().collect::<String>());
        }
        Failure::Server { program: self.plan.program.path.clone(), why: why.into(), log }
    }

    fn signal(&self, number: usize, signal: Signal) -> Result<(), Failure> {
        let Some(process) = &self.members[number].process else { return Ok(()) };
        kill(Pid::from_raw(process.id().cast_signed()), signal)
            .map_err(|error| Failure::io(format!("send {signal}"))(error.into()))
    }

    fn end(&mut self, number: usize, signal: Signal) -> Result<(), Failure> {
        self.signal(number, signal)?;
        if let Some(mut process) = self.members[number].process.take() {
            process.wait().map_err(Failure::io("wait for a member's end"))?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 0..self.members.len() {
            if let Err(error) = self.kill(number) {
                eprintln!("{} may still run: {error}", self.members[number].name);
            }
        }
    }
}

pub(super) fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

pub(super) fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Failure> {
    let reserved = (0..count).map(|_| loopback_port::reserve()).collect::<Result<Vec<_>, _>>();
    reserved.map_err(Failure::io("find free ports"))
}
