//! What is said of one text.

use cloudinit::plan::{Plan, lines};
use cloudinit::{Finding, Severity, preview, validate_as_original};
use serde::{Serialize, Serializer};

/// As the classic API has it: `null` where there is nothing to say, and no more than three fields.
#[derive(Serialize)]
struct Classic<'a> {
    result: Option<Vec<ClassicFinding<'a>>>,
}

#[derive(Serialize)]
struct ClassicFinding<'a> {
    kind: Severity,
    line: u32,
    message: &'a str,
}

/// What the page shows.
#[derive(Serialize)]
struct Whole<'a> {
    kind: &'a str,
    findings: &'a [Finding],
    /// The lines of `-plan`; `null` where nothing would be applied.
    plan: Option<Steps<'a>>,
}

struct Steps<'a>(&'a Plan);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(lines(self.0))
    }
}

/// `{"result":[{"kind":"error","line":3,"message":"..."}]}`, or `{"result":null}`.
///
/// # Errors
/// Never in practice: every value is text or a number.
pub fn classic(text: &[u8]) -> serde_json::Result<String> {
    let findings = validate_as_original(text);
    let result = findings.iter().map(|finding| ClassicFinding {
        kind: finding.kind,
        line: finding.line,
        message: &finding.message,
    });
    serde_json::to_string(&Classic { result: (!findings.is_empty()).then(|| result.collect()) })
}

/// # Errors
/// Never in practice: every value is text or a number.
pub fn whole(text: &[u8]) -> serde_json::Result<String> {
    let preview = preview(text);
    let plan = preview.plan.as_ref().map(Steps);
    serde_json::to_string(&Whole { kind: preview.kind, findings: &preview.findings, plan })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn the_classic_answer_to_the_byte() {
        let check = |text: &str, expect: &str| assert_eq!(classic(text.as_bytes()).unwrap(), expect);
        check("#cloud-config\n", "{\"result\":null}");
        check("", "{\"result\":null}");
        check(
            "#cloud-config\nhostnam: a\nmanage_etc_hosts: maybe\n",
            "{\"result\":[{\"kind\":\"warning\",\"line\":2,\"message\":\"unrecognized key \\\"hostnam\\\" (did you mean \\\"hostname\\\"?)\"},\
             {\"kind\":\"error\",\"line\":3,\"message\":\"invalid value maybe\"}]}",
        );
    }

    #[test]
    fn the_whole_answer_has_place_fix_and_plan() {
        let answer: serde_json::Value =
            serde_json::from_str(&whole(b"#cloud-config\nhostname: a\nhost-nme: b\n").unwrap()).unwrap();
        assert_eq!(answer["kind"], "cloud-config");
        assert_eq!(answer["findings"][0]["column"], 1);
        assert_eq!(answer["findings"][0]["fix"]["replaces"], "host-nme");
        assert_eq!(answer["plan"][0]["op"], "hostname");
        assert_eq!(answer["plan"][0]["why"], "the machine's name");
        let answer: serde_json::Value = serde_json::from_str(&whole(b"hello").unwrap()).unwrap();
        assert!(answer["plan"].is_null());
    }
}
