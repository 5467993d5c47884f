//! Scaling of a server with the number of keys, the size of values, and the number of members.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::closed_loop::{Load, Measured, run};
use super::figures::Side;
use super::plot::{Chart, Line, Tone};
use super::requests::{fill, put_value, require_success};
use super::sessions::{Settings, wait_until_answered};
use crate::backend::{Cluster, Plan};
use crate::failure::Failure;

const CLIENTS: usize = 64;
const VALUE: usize = 256;
/// Number of keys per client, which it overwrites repeatedly.
const KEYS_OF_A_CLIENT: u64 = 64;
const FOLDERS: u64 = 100;
const KEYS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const VALUES: [usize; 6] = [64, 256, 1024, 4 * 1024, 16 * 1024, 64 * 1024];
const MEMBERS: [usize; 4] = [1, 3, 5, 7];
const NO_LIMIT: Duration = Duration::from_secs(3600);

/// One panel of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Panel {
    pub what: &'static str,
    pub unit: &'static str,
    /// Label of the x axis.
    pub along: &'static str,
    /// Otherwise the y axis is linear from 0: the values spread over less than a power of ten.
    pub logarithmic: bool,
}

const fn panel(what: &'static str, unit: &'static str, along: &'static str, logarithmic: bool) -> Panel {
    Panel { what, unit, along, logarithmic }
}

const KEYS_RATE: Panel = panel("puts, 1 member, 64 clients", "a second", "keys held", false);
const KEYS_MEMORY: Panel = panel("resident memory, 1 member", "MiB", "keys held", true);
const KEYS_START: Panel = panel("start to first quorum answer", "ms", "keys held", true);
const VALUES_RATE: Panel = panel("puts, 3 members, 64 clients", "a second", "bytes of a value", true);
const MEMBERS_RATE: Panel = panel("puts, 64 clients", "a second", "members", false);
const MEMBERS_TAIL: Panel = panel("puts, 64 clients: p99", "ms", "members", false);

/// In the order of the report.
pub const PANELS: [Panel; 6] = [KEYS_RATE, KEYS_MEMORY, KEYS_START, VALUES_RATE, MEMBERS_RATE, MEMBERS_TAIL];

#[derive(Debug, Clone, Serialize)]
pub struct Point {
    pub panel: Panel,
    pub at: f64,
    pub value: f64,
}

/// The panels of a chart, with both programs in each.
pub fn charts(points: &[(Side, Point)]) -> Vec<Chart<'static>> {
    let chart = |panel: &Panel| {
        let of = |target_side| {
            let selected = |(side, point): &&(Side, Point)| *side == target_side && point.panel == *panel;
            points.iter().filter(selected).map(|(_, point)| (point.at, point.value)).collect()
        };
        Chart {
            caption: format!("{} ({})", panel.what, panel.unit),
            along: panel.along,
            few_steps: panel.along == "members",
            logarithmic: panel.logarithmic,
            lines: vec![
                Line { name: "etcd 3.4", tone: Tone::Grey, points: of(Side::Reference) },
                Line { name: "Keelson", tone: Tone::Blue, points: of(Side::Ours) },
            ],
        }
    };
    PANELS.iter().map(chart).collect()
}

/// Measures all points of one program; calls `on_point` with each point.
pub fn growth(settings: &Settings, on_point: &mut dyn FnMut(&Point)) -> Result<Vec<Point>, Failure> {
    let mut points = Vec::new();
    let mut add = |panel, at, value| {
        let point = Point { panel, at, value };
        on_point(&point);
        points.push(point);
    };
    for keys in KEYS {
        with_keys(settings, keys, &mut add)?;
    }
    for bytes in VALUES {
        let measured = puts(settings, 3, bytes)?;
        add(VALUES_RATE, bytes as f64, measured.per_second);
    }
    for members in MEMBERS {
        let measured = puts(settings, members, VALUE)?;
        add(MEMBERS_RATE, members as f64, measured.per_second);
        add(MEMBERS_TAIL, members as f64, measured.p99.as_secs_f64() * 1e3);
    }
    Ok(points)
}

fn plan(settings: &Settings, members: usize) -> Plan {
    Plan { program: settings.program.clone(), members, folder: settings.folder.clone() }
}

fn with_keys(settings: &Settings, keys: u64, add: &mut dyn FnMut(Panel, f64, f64)) -> Result<(), Failure> {
    let mut cluster = Cluster::start(&plan(settings, 1))?;
    let addresses = cluster.addresses();
    let key = |number: u64| format!("fill/{}/{}", number % FOLDERS, number % keys);
    fill(&addresses, CLIENTS, keys, &|number, out| put_value(&key(number), VALUE, out))?;
    // A stride through the keys, so that consecutive requests do not touch neighbouring keys.
    let spread = |_, number: u64, out: &mut Vec<u8>| {
        put_value(&key(number.wrapping_mul(7_919) % keys), VALUE, out);
    };
    let load = Load {
        addresses: &addresses,
        tls: None,
        clients: CLIENTS,
        requests: &spread,
        time: settings.time,
        count: u64::MAX,
    };
    let at = keys as f64;
    add(KEYS_RATE, at, require_success(run(&load)?)?.per_second);
    add(KEYS_MEMORY, at, cluster.memory(0)? as f64 / (1024.0 * 1024.0));
    cluster.stop(0)?;
    let began = Instant::now();
    cluster.run(0)?;
    wait_until_answered(&cluster, &format!("/v2/keys/{}?quorum=true", key(0)), NO_LIMIT)?;
    add(KEYS_START, at, began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn puts(settings: &Settings, members: usize, bytes: usize) -> Result<Measured, Failure> {
    let cluster = Cluster::start(&plan(settings, members))?;
    let addresses = cluster.addresses();
    let requests = |client: usize, number: u64, out: &mut Vec<u8>| {
        put_value(&format!("bench/{client}/{}", number % KEYS_OF_A_CLIENT), bytes, out);
    };
    let load = Load {
        addresses: &addresses,
        tls: None,
        clients: CLIENTS,
        requests: &requests,
        time: settings.time,
        count: u64::MAX,
    };
    require_success(run(&load)?)
}
