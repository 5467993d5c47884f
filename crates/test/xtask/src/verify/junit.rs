//! Parses nextest's report: test names, times, and tests that skipped themselves.
//!
//! The format is JUnit XML; `.config/nextest.toml` enables it and keeps the output of passed tests.

use anyhow::{Context, Result};
use roxmltree::Document;

use super::result::{Skip, Timed};

/// Path below cargo's target folder.
pub const FILE: &str = "nextest/default/junit.xml";
/// Prefix on stderr of a test that returns early: `SKIPPED: NAME: REASON`.
const SKIPPED: &str = "SKIPPED: ";

#[derive(Debug, Default)]
pub struct Ran {
    pub tests: Vec<Timed>,
    pub skipped: Vec<Skip>,
    /// `STEP/PACKAGE::TEST` of each failed test.
    pub failed: Vec<String>,
}

/// Parses the report; parts are named `STEP/PACKAGE::TEST`.
pub fn read(xml: &str, step: &str) -> Result<Ran> {
    let document = Document::parse(xml).context("nextest's report is malformed")?;
    let mut ran = Ran::default();
    for case in document.descendants().filter(|node| node.has_tag_name("testcase")) {
        let attribute = |name| case.attribute(name).unwrap_or_default();
        let part = format!("{step}/{}::{}", attribute("classname"), attribute("name"));
        let seconds = attribute("time").parse().with_context(|| format!("{part} has no time"))?;
        let output = case
            .descendants()
            .filter(|node| ["system-err", "system-out"].iter().any(|name| node.has_tag_name(*name)));
        let lines = output.filter_map(|node| node.text()).flat_map(str::lines);
        ran.skipped.extend(lines.filter_map(|line| {
            let reason = line.trim().strip_prefix(SKIPPED)?;
            Some(Skip { part: part.clone(), reason: reason.to_owned() })
        }));
        // A test that does not end or start is an `error`.
        if case.children().any(|node| node.has_tag_name("failure") || node.has_tag_name("error")) {
            ran.failed.push(part.clone());
        }
        ran.tests.push(Timed { part, seconds });
    }
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_skips_are_read() {
        let ran = read(
            r#"<?xml version="1.0" encoding="UTF-8"?><testsuites><testsuite name="kv::garbage">
            <testcase name="a" classname="kv::garbage" time="1.250"><system-err>noise
SKIPPED: a: no user namespaces here
</system-err></testcase>
            <testcase name="b" classname="kv" time="0.010"><system-out>SKIP</system-out></testcase>
            <testcase name="c" classname="kv" time="0.020"><failure type="test failure with exit code 101"/></testcase>
            </testsuite></testsuites>"#,
            "tests",
        )
        .unwrap();
        assert_eq!(ran.tests[0], Timed { part: "tests/kv::garbage::a".into(), seconds: 1.25 });
        assert_eq!(ran.tests.len(), 3);
        assert_eq!(ran.failed, ["tests/kv::c"]);
        let expected =
            [Skip { part: "tests/kv::garbage::a".into(), reason: "a: no user namespaces here".into() }];
        assert_eq!(ran.skipped, expected);
        assert!(read("<testsuites>", "tests").is_err());
    }
}
