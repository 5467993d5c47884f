//! The JSON responses of the API.

use cloudinit::plan::{Plan, lines};
use cloudinit::{Finding, Severity, preview, validate_as_original};
use serde::{Serialize, Serializer};

/// The original API's format: `null` without findings, and three fields per finding.
#[derive(Serialize)]
struct ValidateResponse<'a> {
    result: Option<Vec<ClassicFinding<'a>>>,
}

#[derive(Serialize)]
struct ClassicFinding<'a> {
    kind: Severity,
    line: u32,
    message: &'a str,
}

/// The data of the web page.
#[derive(Serialize)]
struct Preview<'a> {
    kind: &'a str,
    findings: &'a [Finding],
    /// The lines of `-plan`; `null` if nothing would be applied.
    plan: Option<PlanLines<'a>>,
}

struct PlanLines<'a>(&'a Plan);

impl Serialize for PlanLines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(lines(self.0))
    }
}

/// `{"result":[{"kind":"error","line":3,"message":"..."}]}`, or `{"result":null}`.
///
/// # Errors
/// Never in practice: every value is text or a number.
pub fn validate_response(text: &[u8]) -> serde_json::Result<String> {
    let findings = validate_as_original(text);
    let result = findings.iter().map(|finding| ClassicFinding {
        kind: finding.kind,
        line: finding.line,
        message: &finding.message,
    });
    serde_json::to_string(&ValidateResponse { result: (!findings.is_empty()).then(|| result.collect()) })
}

/// # Errors
/// Never in practice: every value is text or a number.
pub fn preview_response(text: &[u8]) -> serde_json::Result<String> {
    let preview = preview(text);
    let plan = preview.plan.as_ref().map(PlanLines);
    serde_json::to_string(&Preview { kind: preview.kind, findings: &preview.findings, plan })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    #[test]
    fn the_classic_answer_to_the_byte() {
        let check =
            |text: &str, expect: &str| assert_eq!(validate_response(text.as_bytes()).unwrap(), expect);
        check("#cloud-config\n", "{\"result\":null}");
        check("", "{\"result\":null}");
        check(
            "#cloud-config\nhostnam: a\nmanage_etc_hosts: maybe\n",
            "{\"result\":[{\"kind\":\"warning\",\"line\":2,\"message\":\"unrecognized key \\\"hostnam\\\" (did you mean \\\"hostname\\\"?)\"},\
             {\"kind\":\"error\",\"line\":3,\"message\":\"invalid value maybe\"}]}",
        );
    }

    #[test]
    fn the_preview_has_position_fix_and_plan() {
        let response: serde_json::Value =
            serde_json::from_str(&preview_response(b"#cloud-config\nhostname: a\nhost-nme: b\n").unwrap())
                .unwrap();
        assert_eq!(response["kind"], "cloud-config");
        assert_eq!(response["findings"][0]["column"], 1);
        assert_eq!(response["findings"][0]["fix"]["replaces"], "host-nme");
        assert_eq!(response["plan"][0]["op"], "hostname");
        assert_eq!(response["plan"][0]["why"], "the machine's name");
        let response: serde_json::Value = serde_json::from_str(&preview_response(b"hello").unwrap()).unwrap();
        assert!(response["plan"].is_null());
    }
}
