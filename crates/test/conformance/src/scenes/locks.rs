//! Contract 7.5: locks, queues and counters from atomic operations under contention.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::fixture::{Fixture, exchange, json as parsed, same};
use crate::failure::Failure;
use crate::http::{Request, Response};

type SceneResult = Result<(), Failure>;

const CLIENTS: usize = 8;
const ROUNDS: usize = 10;
const JOBS: usize = 30;

/// Runs `work` in many clients concurrently, spread over the members; returns all results.
fn run_concurrently<T: Send>(
    fixture: &Fixture<'_>,
    work: impl Fn(usize, &dyn Fn(&str, &str, &str) -> Result<Response, Failure>) -> Result<T, Failure> + Sync,
) -> Result<Vec<T>, Failure> {
    let work = &work;
    thread::scope(|scope| {
        let start = |client: usize| {
            let (address, folder) = (fixture.member(client % 3), fixture.folder.clone());
            scope.spawn(move || {
                work(client, &|method, key, form| {
                    exchange(address, &Request::form(method, format!("{folder}{key}"), form))
                })
            })
        };
        let running: Vec<_> = (0..CLIENTS).map(start).collect();
        let joined = running.into_iter().map(|one| {
            one.join().unwrap_or_else(|_| Err(Failure::differs("a client of the scene panicked")))
        });
        joined.collect()
    })
}

pub fn one_creates(fixture: &mut Fixture<'_>) -> SceneResult {
    for round in 0..ROUNDS {
        let responses = run_concurrently(fixture, |client, exchange| {
            exchange("PUT", &format!("/r{round}?prevExist=false"), &format!("value={client}"))
        })?;
        let winners = responses.iter().filter(|response| response.status == 201).count();
        let losers = responses.iter().filter(|response| response.status == 412).count();
        same("winners and losers", &(winners, losers), &(1, CLIENTS - 1))?;
    }
    Ok(())
}

pub fn swaps_lose_none(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/n", "value=0")?;
    run_concurrently(fixture, |_, exchange| {
        let mut succeeded = 0;
        while succeeded < ROUNDS {
            let node = parsed(&exchange("GET", "/n?quorum=true", "")?)?["node"].clone();
            let count: usize = node["value"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            let index = node["modifiedIndex"].as_u64().unwrap_or(0);
            let swap = exchange("PUT", &format!("/n?prevIndex={index}"), &format!("value={}", count + 1))?;
            succeeded += usize::from(swap.status == 200);
        }
        Ok(())
    })?;
    let last = parsed(&fixture.get("/n?quorum=true")?)?;
    same("the count", &last["node"]["value"], &json!((CLIENTS * ROUNDS).to_string()))
}

/// Lock: create with a TTL; release: delete if the value is unchanged.
pub fn lock_has_one_holder(fixture: &mut Fixture<'_>) -> SceneResult {
    let holders = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    run_concurrently(fixture, |client, exchange| {
        let mut held = 0;
        while held < 3 {
            if exchange("PUT", "/lock?prevExist=false&ttl=60", &format!("value={client}"))?.status != 201 {
                thread::yield_now();
                continue;
            }
            most.fetch_max(holders.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let renewed = exchange("PUT", "/lock?prevExist=true&refresh=true&ttl=60", "")?;
            same("renewing", &renewed.status, &200)?;
            holders.fetch_sub(1, Ordering::SeqCst);
            let freed = exchange("DELETE", &format!("/lock?prevValue={client}"), "")?;
            same("releasing", &freed.status, &200)?;
            held += 1;
        }
        Ok(())
    })?;
    same("holders at once", &most.load(Ordering::SeqCst), &1)
}

/// Jobs are POSTed; each worker takes the first of a sorted listing by deleting it at its index.
pub fn queue_gives_each_job_once(fixture: &mut Fixture<'_>) -> SceneResult {
    for job in 0..JOBS {
        fixture.exchange(&Request::form("POST", fixture.target("/q"), format!("value={job}")))?;
    }
    let taken = run_concurrently(fixture, |_, exchange| {
        let mut mine = Vec::new();
        loop {
            let listing = parsed(&exchange("GET", "/q?sorted=true&quorum=true", "")?)?;
            let Some(first) = listing["node"]["nodes"].get(0).cloned() else { return Ok(mine) };
            let name = first["key"].as_str().and_then(|key| key.rsplit('/').next()).unwrap_or_default();
            let index = first["modifiedIndex"].as_u64().unwrap_or(0);
            if exchange("DELETE", &format!("/q/{name}?prevIndex={index}"), "")?.status == 200 {
                mine.push(first["value"].clone());
            }
        }
    })?;
    let all: Vec<Value> = taken.into_iter().flatten().collect();
    let distinct: BTreeSet<String> = all.iter().map(Value::to_string).collect();
    same("jobs taken, and different ones", &(all.len(), distinct.len()), &(JOBS, JOBS))
}

pub fn in_order_keys_are_distinct(fixture: &mut Fixture<'_>) -> SceneResult {
    let keys = run_concurrently(fixture, |_, exchange| {
        let mut mine = Vec::new();
        for _ in 0..ROUNDS {
            let made = parsed(&exchange("POST", "/q", "value=x")?)?;
            mine.push(made["node"]["key"].to_string());
        }
        Ok(mine)
    })?;
    // Each client's in-order keys increase.
    let grows = keys.iter().all(|mine| mine.windows(2).all(|pair| pair[0] < pair[1]));
    let distinct: BTreeSet<&String> = keys.iter().flatten().collect();
    same("keys grow, and how many", &(grows, distinct.len()), &(true, CLIENTS * ROUNDS))
}
