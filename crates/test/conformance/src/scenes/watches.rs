//! Contract 1.6 and 7.4: long-polling and streaming watches.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fixture::{Fixture, LIMIT, Watch, index_of, json as parsed, same, wait_until};
use crate::failure::Failure;
use crate::http::{Connection, HttpError, Request};

type SceneResult = Result<(), Failure>;

/// Long compared with a round trip.
const QUIET: Duration = Duration::from_millis(200);
const HISTORY: u64 = 1000;
const MANY: usize = 200;
/// More than any server buffers per reader: socket buffers and 100 events.
const FLOOD: usize = 1500;
const FLOOD_VALUE: usize = 16 * 1024;

pub fn headers_come_first(fixture: &mut Fixture<'_>) -> SceneResult {
    let made = fixture.put("/other", "value=1")?;
    let mut watch = fixture.watch("/a?wait=true")?;
    same("status", &watch.head.status, &200)?;
    same("Content-Type", &watch.head.header("Content-Type"), &Some("application/json"))?;
    same("X-Etcd-Index at registration", &watch.head.index(), &made.index())?;
    same("X-Raft-Term is there", &watch.head.header("X-Raft-Term").is_some(), &true)?;
    watch.silent_for(QUIET)
}

pub fn ends_after_one_event(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/a?wait=true")?;
    let put = fixture.put("/a", "value=1")?;
    same("the event", &watch.event()?, &parsed(&put)?)?;
    same("what follows", &watch.next()?, &None)
}

pub fn missing_key(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/x/y/z?wait=true")?;
    same("status", &watch.head.status, &200)?;
    let put = fixture.put("/x/y/z", "value=1")?;
    same("the event", &watch.event()?, &parsed(&put)?)
}

pub fn future_index(fixture: &mut Fixture<'_>) -> SceneResult {
    let now = index_of(&parsed(&fixture.put("/a", "value=0")?)?);
    let mut watch = fixture.watch(&format!("/a?wait=true&waitIndex={}", now + 3))?;
    fixture.put("/a", "value=1")?;
    fixture.put("/a", "value=2")?;
    watch.silent_for(QUIET)?;
    let third = fixture.put("/a", "value=3")?;
    same("the event", &watch.event()?, &parsed(&third)?)
}

pub fn recursive(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/d?wait=true&recursive=true&stream=true")?;
    fixture.put("/dd/x", "value=beside")?;
    for key in ["/d/a", "/d/b/c", "/d/b/c"] {
        let put = fixture.put(key, "value=1")?;
        same("the event", &watch.event()?, &parsed(&put)?)?;
    }
    let gone = fixture.delete("/d?recursive=true")?;
    same("the event", &watch.event()?, &parsed(&gone)?)
}

pub fn not_recursive(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/d", "dir=true")?;
    let mut watch = fixture.watch("/d?wait=true")?;
    fixture.put("/d/a", "value=1")?;
    watch.silent_for(QUIET)?;
    let update = fixture.put("/d?prevExist=true", "ttl=100")?;
    same("the event", &index_of(&watch.event()?), &index_of(&parsed(&update)?))
}

pub fn deletion_above(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/dd/e/f", "value=1")?;
    let mut watches = [fixture.watch("/dd/e/f?wait=true")?, fixture.watch("/dd/e?wait=true&recursive=true")?];
    let gone = parsed(&fixture.delete("/dd?recursive=true")?)?;
    for watch in &mut watches {
        same("the event", &watch.event()?, &gone)?;
    }
    same("its key", &gone["node"]["key"], &json!(fixture.key("/dd")))
}

pub fn hidden(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut above = fixture.watch("/d?wait=true&recursive=true")?;
    let mut inside = fixture.watch("/d/_h?wait=true&recursive=true")?;
    let first = parsed(&fixture.put("/d/_h/x", "value=1")?)?;
    same("the event inside", &inside.event()?, &first)?;
    above.silent_for(QUIET)?;
    let visible = parsed(&fixture.put("/d/v", "value=1")?)?;
    same("the event above", &above.event()?, &visible)
}

pub fn refreshes(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/a", "value=1")?;
    let mut watch = fixture.watch("/a?wait=true")?;
    same("refresh", &fixture.put("/a?refresh=true&prevExist=true", "ttl=100")?.status, &200)?;
    watch.silent_for(QUIET)?;
    let set = parsed(&fixture.put("/a", "value=2")?)?;
    same("the event", &index_of(&watch.event()?), &index_of(&set))
}

pub fn streams_in_order(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/s?wait=true&recursive=true&stream=true")?;
    let mut written = Vec::new();
    for number in 0..50 {
        written.push(index_of(&parsed(&fixture.put(&format!("/s/{}", number % 7), "value=1")?)?));
    }
    let received =
        (0..50).map(|_| watch.event().map(|event| index_of(&event))).collect::<Result<Vec<_>, _>>()?;
    same("indexes", &received, &written)
}

pub fn many_watchers(fixture: &mut Fixture<'_>) -> SceneResult {
    let open = |number: usize| Watch::open(fixture.member(number % 3), &fixture.target("/m?wait=true"));
    let mut watches = (0..MANY).map(open).collect::<Result<Vec<_>, _>>()?;
    let put = parsed(&fixture.put("/m", "value=1")?)?;
    watches.iter_mut().try_for_each(|watch| same("the event", &watch.event()?, &put))
}

pub fn history_of_a_thousand(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut connection = Connection::open(fixture.address(), LIMIT).map_err(lost)?;
    let mut last = 0;
    for _ in 0..HISTORY + 50 {
        let put =
            connection.exchange(&Request::form("PUT", fixture.target("/h"), "value=1")).map_err(lost)?;
        last = put.index().unwrap_or(0);
    }
    let oldest = last - HISTORY + 1;
    let kept = parsed(&fixture.get(&format!("/h?wait=true&waitIndex={oldest}"))?)?;
    same("the oldest that is kept", &index_of(&kept), &oldest)?;
    let gone = fixture.get(&format!("/h?wait=true&waitIndex={}", oldest - 1))?;
    same("status", &gone.status, &400)?;
    let cause = format!("the requested history has been cleared [{oldest}/{}]", oldest - 1);
    let expected = json!({"errorCode": 401, "message": "The event in requested index is outdated and cleared",
        "cause": cause, "index": last});
    same("the answer", &parsed(&gone)?, &expected)
}

pub fn watchers_are_counted(fixture: &mut Fixture<'_>) -> SceneResult {
    let count = |expected: u64| {
        wait_until("the number of watchers", LIMIT, || {
            let stats = parsed(&fixture.exchange(&Request::new("GET", "/v2/stats/store"))?)?;
            Ok(if stats["watchers"] == json!(expected) { Ok(()) } else { Err(stats["watchers"].to_string()) })
        })
    };
    count(0)?;
    let watches = (0..5).map(|_| fixture.watch("/w?wait=true")).collect::<Result<Vec<_>, _>>()?;
    count(5)?;
    drop(watches);
    count(0)
}

pub fn stream_from_history(fixture: &mut Fixture<'_>) -> SceneResult {
    let events = (0..4).map(|_| parsed(&fixture.put("/a", "value=1")?)).collect::<Result<Vec<Value>, _>>()?;
    let mut watch = fixture.watch(&format!("/a?wait=true&stream=true&waitIndex={}", index_of(&events[0])))?;
    for event in &events {
        same("the event", &index_of(&within(&mut watch)?), &index_of(event))?;
    }
    let live = parsed(&fixture.put("/a", "value=2")?)?;
    same("the event", &index_of(&within(&mut watch)?), &index_of(&live))
}

/// Reads an event; silence is a contract violation, not an I/O error.
fn within(watch: &mut Watch) -> Result<Value, Failure> {
    watch.event().map_err(|failure| match failure {
        Failure::Http { source: HttpError::TimedOut, request } => {
            Failure::differs(format!("{request} is silent"))
        }
        other => other,
    })
}

/// Does not read while events flood the stream; then all events must be in order, and the body must end.
pub fn slow_reader(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/f?wait=true&stream=true")?;
    let body = format!("value={}", "x".repeat(FLOOD_VALUE));
    let mut writer = Connection::open(fixture.address(), LIMIT).map_err(lost)?;
    let mut written = Vec::new();
    for _ in 0..FLOOD {
        let put = writer.exchange(&Request::form("PUT", fixture.target("/f"), body.clone())).map_err(lost)?;
        written.push(put.index().unwrap_or(0));
    }
    let started = Instant::now();
    for expected in &written {
        match watch.next() {
            Ok(Some(event)) => same("the next event", &index_of(&event), expected)?,
            Ok(None) | Err(Failure::Http { source: HttpError::Closed, .. }) => return Ok(()),
            Err(Failure::Http { source: HttpError::TimedOut, .. }) => {
                return Err(Failure::differs(format!("silent and open for {:?}", started.elapsed())));
            }
            Err(other) => return Err(other),
        }
        thread::yield_now();
    }
    Ok(())
}

fn lost(source: HttpError) -> Failure {
    Failure::Http { request: "a put".into(), source }
}
