//! Contract 7.3: when keys expire, and which events their watchers get.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::fixture::{Fixture, index_of, json as parsed, same, wait_until};
use crate::failure::Failure;

type SceneResult = Result<(), Failure>;

/// A key expires up to half a second late; the rest is a margin for a busy machine.
const LATEST: Duration = Duration::from_millis(1500);

pub fn ends_a_key(fixture: &mut Fixture<'_>) -> SceneResult {
    let started = Instant::now();
    let put = parsed(&fixture.put("/a", "value=1&ttl=1")?)?;
    let mut watch = fixture.watch(&format!("/a?wait=true&waitIndex={}", index_of(&put) + 1))?;
    let event = watch.event()?;
    let took = started.elapsed();
    same("action", &event["action"], &json!("expire"))?;
    same("key", &event["node"]["key"], &json!(fixture.key("/a")))?;
    same("createdIndex", &event["node"]["createdIndex"], &put["node"]["createdIndex"])?;
    same("no value", &event["node"].get("value"), &None)?;
    same("old value", &event["prevNode"]["value"], &json!("1"))?;
    same("old expiration", &event["prevNode"]["expiration"], &put["node"]["expiration"])?;
    same("not early", &(took >= Duration::from_secs(1)), &true)?;
    if took > Duration::from_secs(1) + LATEST {
        return Err(Failure::differs(format!("the key ended after {took:?}")));
    }
    let gone = fixture.get("/a")?;
    same("status", &gone.status, &404)?;
    same("index", &gone.index(), &Some(index_of(&event)))
}

pub fn ends_a_dir(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/d", "dir=true&ttl=1")?;
    let last = parsed(&fixture.put("/d/x/f", "value=1")?)?;
    let mut below = fixture.watch("/d/x/f?wait=true")?;
    let mut above = fixture.watch("?wait=true&recursive=true&stream=true")?;
    let event = below.event()?;
    same("action", &event["action"], &json!("expire"))?;
    same("key", &event["node"]["key"], &json!(fixture.key("/d")))?;
    same("dir", &event["node"]["dir"], &json!(true))?;
    same("index", &index_of(&event), &(index_of(&last) + 1))?;
    same("the same above", &above.event()?, &event)?;
    above.silent_for(Duration::from_millis(700))?;
    same("status", &fixture.get("/d")?.status, &404)
}

pub fn zero(fixture: &mut Fixture<'_>) -> SceneResult {
    let put = parsed(&fixture.put("/a", "value=1&ttl=0")?)?;
    same("no ttl", &put["node"].get("ttl"), &None)?;
    wait_until("the key's end", LATEST, || {
        let got = fixture.get("/a")?;
        Ok(if got.status == 404 { Ok(()) } else { Err(got.text()) })
    })
}

pub fn in_order(fixture: &mut Fixture<'_>) -> SceneResult {
    let mut watch = fixture.watch("/o?wait=true&recursive=true&stream=true")?;
    for (key, ttl) in [("/o/c", 3), ("/o/a", 1), ("/o/b", 2)] {
        fixture.put(key, &format!("value=1&ttl={ttl}"))?;
        watch.event()?;
    }
    let mut before = 0;
    for key in ["/o/a", "/o/b", "/o/c"] {
        let event = watch.event()?;
        same("which ended", &event["node"]["key"], &json!(fixture.key(key)))?;
        same("a later index", &(index_of(&event) > before), &true)?;
        before = index_of(&event);
    }
    Ok(())
}

pub fn refreshed(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/a", "value=1&ttl=1")?;
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let refresh = fixture.put("/a?refresh=true&prevExist=true", "ttl=1")?;
        same("refresh", &refresh.status, &200)?;
        thread::sleep(Duration::from_millis(200));
    }
    same("value", &parsed(&fixture.get("/a")?)?["node"]["value"], &json!("1"))
}

pub fn taken_away(fixture: &mut Fixture<'_>) -> SceneResult {
    fixture.put("/a", "value=1&ttl=1")?;
    fixture.put("/b", "value=1&ttl=1")?;
    fixture.put("/a", "value=2")?;
    let mut watch = fixture.watch("?wait=true&recursive=true&stream=true")?;
    same("which ended", &watch.event()?["node"]["key"], &json!(fixture.key("/b")))?;
    watch.silent_for(Duration::from_millis(700))?;
    same("value", &parsed(&fixture.get("/a")?)?["node"]["value"], &json!("2"))
}
