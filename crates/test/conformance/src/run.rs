//! Runs cases and scenes against one back end and reports which hold.
//!
//! A case that is marked as differing runs too: if it holds, the mark is wrong, which is a failure.

use std::net::SocketAddr;
use std::time::Duration;

use crate::backend::{Cluster, Kind};
use crate::case::{self, BodyRule, Case, Environment, Expected, IndexRule, Sent, Step};
use crate::failure::Failure;
use crate::http::{self, Connection, HttpError, Request, Response};
use crate::scenes::{self, Fixture, Scene};

const RESPONSE_LIMIT: Duration = Duration::from_secs(10);
/// Minimal number of held cases and scenes on every kind of server: fewer mean that part of the suite did not run.
pub const MIN_HELD: usize = 250;

#[derive(Debug)]
pub struct Verdict {
    pub name: String,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Held,
    /// Failed as its mark states.
    DiffersAsMarked,
    /// Not part of this back end's contract.
    NotApplicable,
    Failed(String),
}

/// Runs everything whose name contains `filter`; an error if nothing matches.
pub fn all(cluster: &mut Cluster, kind: Kind, filter: &str) -> Result<Vec<Verdict>, Failure> {
    let mut verdicts = Vec::new();
    for case in case::all()?.iter().filter(|case| case.name.contains(filter)) {
        let outcome = judge(&case.name, kind, &case.holds, case.mark(kind), || try_case(cluster, case));
        verdicts.push(Verdict { name: case.name.clone(), outcome });
    }
    for scene in scenes::ALL.iter().filter(|scene| scene.name.contains(filter)) {
        let outcome = judge(scene.name, kind, scene.holds, scene.mark(kind), || try_scene(cluster, scene));
        verdicts.push(Verdict { name: scene.name.into(), outcome });
    }
    if verdicts.iter().all(|verdict| verdict.outcome == Outcome::NotApplicable) {
        return Err(Failure::NoCase { kind: kind.name(), filter: filter.to_owned() });
    }
    Ok(verdicts)
}

fn judge(
    name: &str,
    kind: Kind,
    holds: &[Kind],
    mark: Option<&str>,
    run: impl FnOnce() -> Result<(), Failure>,
) -> Outcome {
    if !holds.contains(&kind) && mark.is_none() {
        return Outcome::NotApplicable;
    }
    match (run(), mark) {
        (Ok(()), None) => Outcome::Held,
        (Ok(()), Some(reason)) => Outcome::Failed(format!(
            "{name} holds on {}, though it is marked as differing ({reason}): take the mark away",
            kind.name()
        )),
        // Other failures do not confirm the mark: the case could not run.
        (Err(Failure::Differs(_) | Failure::Http { source: HttpError::Closed, .. }), Some(_)) => {
            Outcome::DiffersAsMarked
        }
        (Err(failure), _) => Outcome::Failed(service::error::chain(&failure)),
    }
}

fn try_scene(cluster: &mut Cluster, scene: &Scene) -> Result<(), Failure> {
    let folder = folder_of(scene.name);
    let outcome = (scene.run)(&mut Fixture::new(cluster, &folder)?);
    let cleaned = remove(cluster.addresses()[0], &folder);
    outcome.and(cleaned)
}

fn folder_of(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    format!("/{}", name.chars().map(plain).collect::<String>())
}

fn try_case(cluster: &Cluster, case: &Case) -> Result<(), Failure> {
    let members = cluster.addresses();
    let prefix = if case.bare { String::new() } else { folder_of(&case.name) };
    let first = if case.bare {
        Request::new("GET", "/v2/keys/?quorum=true")
    } else {
        Request::new("PUT", format!("/v2/keys{prefix}?dir=true"))
    };
    let made = exchange(members[0], &first)?;
    let base = made.index().ok_or_else(|| Failure::differs(format!("no X-Etcd-Index: {}", made.text())))?;
    let mut environment = Environment { prefix, base, ..Environment::default() };
    let outcome = case.steps.iter().try_for_each(|step| try_step(&members, step, &mut environment));
    let cleaned = if case.bare { empty_root(members[0]) } else { remove(members[0], &environment.prefix) };
    outcome.and(cleaned)
}

fn try_step(members: &[SocketAddr], step: &Step, environment: &mut Environment) -> Result<(), Failure> {
    let address = members[step.member.clamp(1, members.len()) - 1];
    let filled = |text: &str| {
        case::expand(text, environment)
            .map_err(|why| Failure::CaseText { location: step.location.clone(), why })
    };
    let failed = |source| Failure::Http { request: step.location.clone(), source };
    let mut connection = Connection::open(address, RESPONSE_LIMIT).map_err(failed)?;
    let without_body = match &step.sent {
        Sent::Raw(text) => {
            connection.send_raw(filled(text)?.as_bytes()).map_err(failed)?;
            text.starts_with("HEAD")
        }
        Sent::Request { method, target, headers, body } => {
            let body = body.as_deref().map(filled).transpose()?.map(String::into_bytes);
            let request =
                Request { method: method.clone(), target: filled(target)?, headers: headers.clone(), body };
            connection.send(&request).map_err(failed)?;
            method == "HEAD"
        }
    };
    for expected in &step.expected {
        let response = connection.response(without_body).map_err(failed)?;
        let compared = compare(expected, &response, environment).and_then(|()| promises(step, &response));
        compared.map_err(|why| Failure::differs(format!("{}: {why}", step.location)))?;
    }
    Ok(())
}

fn compare(expected: &Expected, response: &Response, environment: &mut Environment) -> Result<(), String> {
    if expected.status != response.status {
        return Err(format!(
            "status {} instead of {}: {}",
            response.status,
            expected.status,
            response.text()
        ));
    }
    match (&expected.index, response.header("X-Etcd-Index")) {
        (IndexRule::Any, _) | (IndexRule::Absent, None) => {}
        (IndexRule::Absent, Some(index)) => return Err(format!("X-Etcd-Index: {index} instead of none")),
        (IndexRule::Is(rule), None) => return Err(format!("no X-Etcd-Index instead of {rule}")),
        (IndexRule::Is(rule), Some(index)) => {
            let base = environment.base;
            case::matches(rule, index, environment)
                .map_err(|why| format!("X-Etcd-Index (B={base}): {why}"))?;
        }
    }
    for (name, value) in &expected.headers {
        match (value, response.header(name)) {
            (None, None) => {}
            (None, Some(found)) => return Err(format!("{name}: {found} instead of none")),
            (Some(rule), None) => return Err(format!("no {name} instead of {rule}")),
            (Some(rule), Some(found)) => {
                case::matches(rule, found, environment).map_err(|why| format!("{name}: {why}"))?;
            }
        }
    }
    match &expected.body {
        BodyRule::Any => Ok(()),
        BodyRule::Is(rule) => case::matches(rule, &response.text(), environment),
    }
}

/// Checks the headers that contract 1.2 requires of every `/v2/keys` response.
fn promises(step: &Step, response: &Response) -> Result<(), String> {
    let Sent::Request { target, .. } = &step.sent else { return Ok(()) };
    let keys = target.starts_with("/v2/keys") && response.header("X-Etcd-Index").is_some();
    if !keys {
        return Ok(());
    }
    let present = |name: &str| response.header(name).is_some();
    let id = response.header("X-Etcd-Cluster-Id").unwrap_or_default();
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if id.is_empty() || id.len() > 16 || id.starts_with('0') || !id.bytes().all(hex) {
        return Err(format!("X-Etcd-Cluster-Id: `{id}`"));
    }
    if response.header("Content-Type") != Some("application/json") {
        return Err(format!("Content-Type: {:?}", response.header("Content-Type")));
    }
    let is_success = response.status < 300;
    if present("X-Raft-Index") != is_success || present("X-Raft-Term") != is_success {
        return Err(format!("X-Raft-Index, X-Raft-Term with status {}", response.status));
    }
    let index = format!("\"index\":{}}}\n", response.header("X-Etcd-Index").unwrap_or_default());
    if !is_success && !response.body.is_empty() && !response.text().ends_with(&index) {
        return Err(format!("X-Etcd-Index and the body's index differ: {}", response.text()));
    }
    Ok(())
}

fn remove(address: SocketAddr, folder: &str) -> Result<(), Failure> {
    let request = Request::new("DELETE", format!("/v2/keys{folder}?recursive=true"));
    let response = exchange(address, &request)?;
    match response.status {
        200 | 404 => Ok(()),
        _ => Err(Failure::differs(format!("cannot clean up {folder}: {}", response.text()))),
    }
}

/// Removes all keys that a listing of the root shows, after a bare case.
fn empty_root(address: SocketAddr) -> Result<(), Failure> {
    let response = exchange(address, &Request::new("GET", "/v2/keys/?quorum=true"))?;
    let event: serde_json::Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let children = event["node"]["nodes"].as_array().cloned().unwrap_or_default();
    children.iter().filter_map(|child| child["key"].as_str()).try_for_each(|key| remove(address, key))
}

fn exchange(address: SocketAddr, request: &Request) -> Result<Response, Failure> {
    http::exchange(address, request, RESPONSE_LIMIT)
        .map_err(|source| Failure::Http { request: format!("{} {}", request.method, request.target), source })
}
