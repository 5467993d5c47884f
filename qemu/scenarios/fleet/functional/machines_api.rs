//! The machines resource of the HTTP API, on a port that a drop-in opened.

use super::ground::{ENDPOINT, Ground};
use crate::failure::{Failure, expect};

const MACHINES: &str = "/fleet/v1/machines";

struct Answer {
    code: String,
    kind: String,
    body: String,
}

impl Answer {
    fn is(&self, code: &str) -> Result<(), Failure> {
        let seen = format!("{} {}: {}", self.code, self.kind, self.body);
        expect(self.code == code && self.kind == "application/json", &format!("{code}, as JSON"), &seen)
    }
}

fn ask(ground: &Ground<'_>, words: &str) -> Result<Answer, Failure> {
    let said =
        ground.typed().succeed(&format!("curl -sS -w '\\n%{{http_code}} %{{content_type}}' {words}"))?;
    let parts = said.rsplit_once('\n').and_then(|(body, line)| Some((body, line.split_once(' ')?)));
    let (body, (code, kind)) =
        parts.ok_or_else(|| Failure::Expected(format!("expected an answer; seen: {said}")))?;
    Ok(Answer { code: code.to_owned(), kind: kind.to_owned(), body: body.to_owned() })
}

fn patch(ground: &Ground<'_>, body: &str) -> Result<Answer, Failure> {
    ask(ground, &format!("-X PATCH -H 'Content-Type: application/json' -d '{body}' {ENDPOINT}{MACHINES}"))
}

/// One JSON Patch operation on a machine's metadata, by the machine's number from 0.
fn operation(ground: &Ground<'_>, op: &str, machine: usize, key: &str, value: &str) -> String {
    let id = &ground.members[machine].id;
    let value = if value.is_empty() { String::new() } else { format!(r#","value":{value}"#) };
    format!(r#"{{"op":"{op}","path":"/{id}/metadata/{key}"{value}}}"#)
}

/// Checks each machine's metadata on all machines.
fn metadata(ground: &Ground<'_>, further: &[(usize, &str)]) -> Result<(), Failure> {
    let mut wanted: Vec<_> = ground
        .members
        .iter()
        .enumerate()
        .map(|(index, member)| {
            let own = [format!("hostname={}", member.machine.name())];
            let given =
                further.iter().filter(|(machine, _)| *machine == index).map(|(_, pair)| (*pair).to_owned());
            let mut pairs: Vec<_> = own.into_iter().chain(given).collect();
            pairs.sort();
            format!("{} {}\n", member.id, pairs.join(","))
        })
        .collect();
    wanted.sort();
    let wanted = wanted.concat();
    let list = format!(
        r#"curl -sS {ENDPOINT}{MACHINES} | jq -r '.machines[] | .id + " " + (.metadata | to_entries | map(.key + "=" + .value) | join(","))'"#
    );
    for member in &ground.members {
        ground.until(&wanted, || Ok(member.machine.succeed(&list)?), |seen| *seen == wanted)?;
    }
    Ok(())
}

pub fn machines_list(ground: &Ground<'_>) -> Result<(), Failure> {
    let answer = ask(ground, &format!("{ENDPOINT}{MACHINES}"))?;
    answer.is("200")?;
    let ids = answer.body.matches(r#""id":"#).count();
    expect(ids == ground.members.len(), "all machines", &answer.body)
}

pub fn machines_list_bad_next_page_token(ground: &Ground<'_>) -> Result<(), Failure> {
    let answer = ask(ground, &format!("'{ENDPOINT}{MACHINES}?nextPageToken=EwBMLg=='"))?;
    answer.is("400")?;
    let wanted = r#"{"error":{"code":400,"message":"token limit must be 100"}}"#;
    expect(answer.body.trim_end() == wanted, wanted, &answer.body)
}

pub fn machines_patch_add_modify(ground: &Ground<'_>) -> Result<(), Failure> {
    metadata(ground, &[])?;
    let add = operation(ground, "add", 0, "foo", r#"{"Value":"foo"}"#);
    let replace = operation(ground, "replace", 1, "bar", r#"{"value":"bar"}"#);
    patch(ground, &format!("[{add},{replace}]"))?.is("204")?;
    metadata(ground, &[(0, "foo=foo"), (1, "bar=bar")])?;
    let remove = [operation(ground, "remove", 0, "foo", ""), operation(ground, "remove", 1, "bar", "")];
    patch(ground, &format!("[{}]", remove.join(",")))?.is("204")
}

pub fn machines_patch_delete(ground: &Ground<'_>) -> Result<(), Failure> {
    let add = operation(ground, "add", 0, "foo", r#""foo""#);
    patch(ground, &format!("[{add}]"))?.is("204")?;
    metadata(ground, &[(0, "foo=foo")])?;
    let remove = operation(ground, "remove", 0, "foo", "");
    patch(ground, &format!("[{remove}]"))?.is("204")?;
    metadata(ground, &[])
}

pub fn machines_patch_bad(ground: &Ground<'_>) -> Result<(), Failure> {
    let good = operation(ground, "add", 0, "foo", r#""foo""#);
    let elsewhere = good.replace("/metadata/", "/");
    let bad = [
        operation(ground, "noop", 0, "foo", r#""foo""#),
        elsewhere,
        operation(ground, "add", 0, "foo", r#""""#),
    ];
    for bad in bad {
        patch(ground, &format!("[{good},{bad}]"))?.is("400")?;
    }
    metadata(ground, &[])
}
