//! The machines resource of the HTTP API, on a port that a drop-in opened.

use super::fixture::{ENDPOINT, Fixture};
use crate::failure::{Failure, expect};

const MACHINES: &str = "/fleet/v1/machines";

struct Answer {
    code: String,
    kind: String,
    body: String,
}

impl Answer {
    fn is(&self, code: &str) -> Result<(), Failure> {
        let answer = format!("{} {}: {}", self.code, self.kind, self.body);
        expect(self.code == code && self.kind == "application/json", &format!("{code}, as JSON"), &answer)
    }
}

fn request(fixture: &Fixture<'_>, arguments: &str) -> Result<Answer, Failure> {
    let output = fixture
        .client()
        .succeed(&format!("curl -sS -w '\\n%{{http_code}} %{{content_type}}' {arguments}"))?;
    let parts = output.rsplit_once('\n').and_then(|(body, line)| Some((body, line.split_once(' ')?)));
    let (body, (code, kind)) =
        parts.ok_or_else(|| Failure::Expected(format!("expected an answer; seen: {output}")))?;
    Ok(Answer { code: code.to_owned(), kind: kind.to_owned(), body: body.to_owned() })
}

fn patch(fixture: &Fixture<'_>, body: &str) -> Result<Answer, Failure> {
    request(
        fixture,
        &format!("-X PATCH -H 'Content-Type: application/json' -d '{body}' {ENDPOINT}{MACHINES}"),
    )
}

/// One JSON Patch operation on a machine's metadata, by the machine's number from 0.
fn operation(fixture: &Fixture<'_>, op: &str, machine: usize, key: &str, value: &str) -> String {
    let id = &fixture.members[machine].id;
    let value = if value.is_empty() { String::new() } else { format!(r#","value":{value}"#) };
    format!(r#"{{"op":"{op}","path":"/{id}/metadata/{key}"{value}}}"#)
}

/// Checks each machine's metadata on all machines.
fn metadata(fixture: &Fixture<'_>, further: &[(usize, &str)]) -> Result<(), Failure> {
    let mut expected: Vec<_> = fixture
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
    expected.sort();
    let expected = expected.concat();
    let list = format!(
        r#"curl -sS {ENDPOINT}{MACHINES} | jq -r '.machines[] | .id + " " + (.metadata | to_entries | map(.key + "=" + .value) | join(","))'"#
    );
    for member in &fixture.members {
        fixture.until(&expected, || Ok(member.machine.succeed(&list)?), |answer| *answer == expected)?;
    }
    Ok(())
}

pub fn machines_list(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let answer = request(fixture, &format!("{ENDPOINT}{MACHINES}"))?;
    answer.is("200")?;
    let ids = answer.body.matches(r#""id":"#).count();
    expect(ids == fixture.members.len(), "all machines", &answer.body)
}

pub fn machines_list_bad_next_page_token(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let answer = request(fixture, &format!("'{ENDPOINT}{MACHINES}?nextPageToken=EwBMLg=='"))?;
    answer.is("400")?;
    let expected = r#"{"error":{"code":400,"message":"token limit must be 100"}}"#;
    expect(answer.body.trim_end() == expected, expected, &answer.body)
}

pub fn machines_patch_add_modify(fixture: &Fixture<'_>) -> Result<(), Failure> {
    metadata(fixture, &[])?;
    let add = operation(fixture, "add", 0, "foo", r#"{"Value":"foo"}"#);
    let replace = operation(fixture, "replace", 1, "bar", r#"{"value":"bar"}"#);
    patch(fixture, &format!("[{add},{replace}]"))?.is("204")?;
    metadata(fixture, &[(0, "foo=foo"), (1, "bar=bar")])?;
    let remove = [operation(fixture, "remove", 0, "foo", ""), operation(fixture, "remove", 1, "bar", "")];
    patch(fixture, &format!("[{}]", remove.join(",")))?.is("204")
}

pub fn machines_patch_delete(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let add = operation(fixture, "add", 0, "foo", r#""foo""#);
    patch(fixture, &format!("[{add}]"))?.is("204")?;
    metadata(fixture, &[(0, "foo=foo")])?;
    let remove = operation(fixture, "remove", 0, "foo", "");
    patch(fixture, &format!("[{remove}]"))?.is("204")?;
    metadata(fixture, &[])
}

pub fn machines_patch_bad(fixture: &Fixture<'_>) -> Result<(), Failure> {
    let valid = operation(fixture, "add", 0, "foo", r#""foo""#);
    let elsewhere = valid.replace("/metadata/", "/");
    let invalid = [
        operation(fixture, "noop", 0, "foo", r#""foo""#),
        elsewhere,
        operation(fixture, "add", 0, "foo", r#""""#),
    ];
    for invalid in invalid {
        patch(fixture, &format!("[{valid},{invalid}]"))?.is("400")?;
    }
    metadata(fixture, &[])
}
