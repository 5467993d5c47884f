//! Measurements on one start of a server: with three members, and with one.
//!
//! Both sides run the same session, so that a figure does not depend on the order of its neighbours.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::closed_loop::{Load, run};
use super::figures::Better::{self, Higher, Lower};
use super::figures::Target::{self, Itself, OfReference};
use super::probes::{bare_broadcast, bare_fdatasync, bare_round_trip};
use super::requests::{fill, put_value, require_success};
use super::watchers::{Watching, write_each};
use crate::backend::{Certificates, Cluster, Plan, Program};
use crate::failure::Failure;
use crate::http::{self, Request};

const VALUE: usize = 256;
/// Number of keys per client, which it overwrites repeatedly.
const KEYS_OF_A_CLIENT: u64 = 64;
/// (clients, target rate, target p99) of issue 3.
const PUTS: [(usize, f64, f64); 4] = [(1, 1.0, 1.0), (16, 1.5, 0.7), (64, 2.0, 0.5), (256, 2.5, 0.5)];
/// (clients, target rate) of issue 21.
const TLS_PUTS: [(usize, Target); 2] = [(1, Target::None), (64, OfReference(1.5))];
/// Share of the cores that the load takes from the servers: it limits the rates of both.
const LOAD: &str = "what the load takes";
const READERS: usize = 64;
const WATCHERS: usize = 10_000;
/// The probe has both ends of its streams in one process, whose open files are limited: it uses a part of the
/// watchers.
const PROBED_WATCHERS: usize = WATCHERS / 4;
const WATCHED_KEYS: usize = 100;
const STORED_KEYS: u64 = 100_000;
const FOLDERS: u64 = 100;
const PROBES: usize = 2000;
/// As in the measurement of the contract's baseline.
const FAILOVER_PATIENCE: Duration = Duration::from_millis(250);
const FAILOVER_PAUSE: Duration = Duration::from_millis(10);
const FAILOVER_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone)]
pub struct Settings {
    pub program: Program,
    pub folder: PathBuf,
    /// Duration of each load.
    pub time: Duration,
}

/// Name, unit, direction, target, value.
pub type Value = (String, &'static str, Better, Target, f64);

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// `number` counts over all clients; each has separate keys.
fn put(client: usize, number: u64, out: &mut Vec<u8>) {
    put_value(&format!("bench/{client}/{}", number % KEYS_OF_A_CLIENT), VALUE, out);
}

fn get(client: usize, number: u64, query: &str, out: &mut Vec<u8>) {
    let key = number % KEYS_OF_A_CLIENT;
    let text = format!("GET /v2/keys/bench/{client}/{key}{query} HTTP/1.1\r\nHost: x\r\n\r\n");
    out.extend_from_slice(text.as_bytes());
}

pub fn three_members(settings: &Settings) -> Result<Vec<Value>, Failure> {
    let plan = Plan { program: settings.program.clone(), members: 3, folder: settings.folder.clone() };
    let mut cluster = Cluster::start(&plan)?;
    let addresses = cluster.addresses();
    let load = |clients, requests: super::closed_loop::Requests<'_>| {
        let load = Load {
            addresses: &addresses,
            tls: None,
            clients,
            requests,
            time: settings.time,
            count: u64::MAX,
        };
        run(&load).and_then(require_success)
    };
    let mut values: Vec<Value> = Vec::new();
    for (clients, rate, tail) in PUTS {
        let measured = load(clients, &put)?;
        let what = format!("puts, 3 members, {clients} clients");
        values.push((format!("{what}: rate"), "a second", Higher, OfReference(rate), measured.per_second));
        values.push((format!("{what}: p50"), "ms", Lower, Target::None, milliseconds(measured.p50)));
        values.push((format!("{what}: p99"), "ms", Lower, OfReference(tail), milliseconds(measured.p99)));
        values.push((format!("{what}: {LOAD}"), "cores", Lower, Target::None, measured.cores));
    }
    // Ensures that the keys exist: a short load may not have written all.
    fill(&addresses, READERS, READERS as u64 * KEYS_OF_A_CLIENT, &|number, out| {
        put((number / KEYS_OF_A_CLIENT) as usize, number % KEYS_OF_A_CLIENT, out);
    })?;
    for (kind, query) in [("quorum", "?quorum=true"), ("plain", "")] {
        let reads = load(READERS, &|client, number, out: &mut Vec<u8>| get(client, number, query, out))?;
        let what = format!("{kind} gets, 3 members, {READERS} clients");
        values.push((what.clone(), "a second", Higher, OfReference(2.0), reads.per_second));
        values.push((format!("{what}: {LOAD}"), "cores", Lower, Target::None, reads.cores));
    }
    let took = failover(&mut cluster)?;
    values.push((
        "leader killed until a write is accepted".into(),
        "ms",
        Lower,
        OfReference(1.0),
        milliseconds(took),
    ));
    Ok(values)
}

/// Clients and peers authenticate each other by certificates.
pub fn three_members_with_tls(settings: &Settings) -> Result<Vec<Value>, Failure> {
    let certificates = Arc::new(Certificates::issue()?);
    let program = settings.program.clone().with_tls(&certificates);
    let cluster = Cluster::start(&Plan { program, members: 3, folder: settings.folder.clone() })?;
    let mut values: Vec<Value> = Vec::new();
    for (clients, target) in TLS_PUTS {
        let measured = run(&Load {
            addresses: &cluster.secure_addresses(),
            tls: Some(&certificates.client),
            clients,
            requests: &put,
            time: settings.time,
            count: u64::MAX,
        });
        let measured = measured.and_then(require_success)?;
        let what = format!("puts with TLS, 3 members, {clients} clients");
        values.push((format!("{what}: rate"), "a second", Higher, target, measured.per_second));
        values.push((format!("{what}: p99"), "ms", Lower, Target::None, milliseconds(measured.p99)));
        values.push((format!("{what}: {LOAD}"), "cores", Lower, Target::None, measured.cores));
    }
    Ok(values)
}

fn failover(cluster: &mut Cluster) -> Result<Duration, Failure> {
    let leader = cluster.leader()?;
    let follower = cluster.addresses()[(leader + 1) % 3];
    cluster.kill(leader)?;
    let began = Instant::now();
    while began.elapsed() < FAILOVER_LIMIT {
        let request = Request::form("PUT", "/v2/keys/failover", "value=1");
        if http::exchange(follower, &request, FAILOVER_PATIENCE).is_ok_and(|response| response.status < 300) {
            return Ok(began.elapsed());
        }
        thread::sleep(FAILOVER_PAUSE);
    }
    Err(Failure::differs(format!("no write was accepted within {FAILOVER_LIMIT:?}")))
}

pub fn one_member(settings: &Settings) -> Result<Vec<Value>, Failure> {
    let plan = Plan { program: settings.program.clone(), members: 1, folder: settings.folder.clone() };
    let mut cluster = Cluster::start(&plan)?;
    let address = cluster.addresses();
    let mut values: Vec<Value> = Vec::new();
    let load = Load {
        addresses: &address,
        tls: None,
        clients: 1,
        requests: &put,
        time: settings.time,
        count: u64::MAX,
    };
    let single = require_success(run(&load)?)?;
    let (mut bytes, single) = (Vec::new(), milliseconds(single.p50));
    put(0, 0, &mut bytes);
    let bare = bare_fdatasync(&settings.folder, bytes.len(), PROBES)? + bare_round_trip(&put, PROBES as u64)?;
    values.push(("put, 1 member, 1 client: p50".into(), "ms", Lower, OfReference(1.0), single));
    let what = "the same as a multiple of a bare fdatasync and a bare round trip".into();
    values.push((what, "x", Lower, Itself(1.0), single / milliseconds(bare)));

    let before = cluster.memory(0)?;
    let watching = Watching::open(address[0], WATCHERS, WATCHED_KEYS)?;
    let after = cluster.memory(0)?;
    let notified = milliseconds(watching.notify_all(|| write_each(address[0], WATCHED_KEYS))?);
    values.push(("10,000 watchers on 100 keys: all told".into(), "ms", Lower, OfReference(0.5), notified));
    let what = "the same as a multiple of bare writes to their sockets".into();
    let bare = milliseconds(bare_broadcast(PROBED_WATCHERS)?) * (WATCHERS / PROBED_WATCHERS) as f64;
    values.push((what, "x", Lower, Target::None, notified / bare));
    let each = after.saturating_sub(before) as f64 / WATCHERS as f64 / 1024.0;
    values.push(("10,000 watchers: memory each".into(), "KiB", Lower, Itself(2.0), each));
    drop(cluster);

    // A fresh cluster: memory is measured without leftovers of the watchers.
    cluster = Cluster::start(&plan)?;
    fill(&cluster.addresses(), READERS, STORED_KEYS, &|number, out| {
        put_value(&format!("fill/{}/{number}", number % FOLDERS), VALUE, out);
    })?;
    let stored = cluster.memory(0)? as f64 / (1024.0 * 1024.0);
    values.push(("memory at 100,000 keys of 256 bytes".into(), "MiB", Lower, OfReference(0.6), stored));
    cluster.stop(0)?;
    let began = Instant::now();
    cluster.run(0)?;
    wait_until_answered(&cluster, "/v2/keys/fill/0/0?quorum=true", FAILOVER_LIMIT)?;
    let took = milliseconds(began.elapsed());
    values.push((
        "start to first quorum answer with 100,000 keys".into(),
        "ms",
        Lower,
        OfReference(0.5),
        took,
    ));
    Ok(values)
}

/// Waits until the first member answers a GET of `path` with 200.
pub fn wait_until_answered(cluster: &Cluster, path: &str, limit: Duration) -> Result<(), Failure> {
    let began = Instant::now();
    let request = Request::new("GET", path);
    while !http::exchange(cluster.addresses()[0], &request, limit)
        .is_ok_and(|response| response.status == 200)
    {
        if began.elapsed() > limit {
            return Err(Failure::differs("no answer after a restart"));
        }
        thread::sleep(POLL);
    }
    Ok(())
}
