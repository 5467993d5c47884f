//! Compares the output of a command with the one that a page shows.

use regex::Regex;

/// A line of the page that stands for any lines.
const ANY: &str = "...";
/// Lines of fleetctl that depend on how long it waits: they are left out.
const WAITING: &str = "Waiting for unit ";
/// Lines that come in the order of the members' ids, which derive from the discovery token.
const BY_MEMBER: &str = "member ID ";

/// Values that differ from run to run, and what stands for them. The page lists them under "Conventions".
const VOLATILE: [(&str, &str); 12] = [
    // Times: of the journal, of a log, of systemctl, of a key's expiration.
    (r"^[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} ", "TIME "),
    (
        r"([A-Z][a-z]{2} )?[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?( UTC|Z)?",
        "TIME",
    ),
    (r"; [0-9a-z ]+ ago$", "; AGE ago"),
    (r" +([0-9]+ min +)?[0-9.]+ s$", " DURATION"),
    // Process ids in the journal, and etcd's index in an error.
    (r"\[[0-9]+\]", "[NUMBER]"),
    (r#""(modifiedIndex|createdIndex|index)":[0-9]+"#, r#""${1}":INDEX"#),
    (r"/[0-9]{20}", "/INDEX"),
    (r"^member [0-9a-f]+ ", BY_MEMBER),
    (r"127\.0\.0\.1:[0-9]{5}", "127.0.0.1:PORT"),
    (r"[0-9]+\.[0-9]+\.[0-9]+  [ab-]$", "VERSION  SLOT"),
    (r"\([0-9]+\.[0-9]+\.[0-9]+\)$", "(VERSION)"),
    // In the commands that messages suggest: the reader of the scenario has another folder.
    (r"keelson --state-dir [^ ]+ ", "keelson "),
];

pub struct Comparison(Vec<(Regex, &'static str)>);

impl Comparison {
    pub fn new() -> Result<Self, regex::Error> {
        let rules = VOLATILE.iter().map(|(pattern, name)| Ok((Regex::new(pattern)?, *name)));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// Whether the output is what the page shows.
    pub fn holds(&self, page: &[String], output: &str) -> bool {
        let page = self.normalized(page.iter().map(String::as_str));
        let output = self.normalized(output.lines());
        fits(&page, &output)
    }

    fn normalized<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
        let replace =
            |line: String, (volatile, name): &(Regex, &str)| volatile.replace_all(&line, *name).into_owned();
        let shown = lines.filter(|line| !line.starts_with(WAITING));
        let mut lines: Vec<_> =
            shown.map(|line| self.0.iter().fold(line.trim_end().to_owned(), replace)).collect();
        let by_member = |line: &String| line.starts_with(BY_MEMBER);
        for group in lines.chunk_by_mut(|one, next| by_member(one) && by_member(next)) {
            group.sort();
        }
        lines
    }
}

fn fits(page: &[String], output: &[String]) -> bool {
    match page.split_first() {
        None => output.is_empty(),
        Some((first, rest)) if first == ANY => (0..=output.len()).any(|from| fits(rest, &output[from..])),
        Some((first, rest)) => {
            output.split_first().is_some_and(|(line, others)| line == first && fits(rest, others))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, output: &str, holds: bool) {
        let lines: Vec<_> = page.lines().map(str::to_owned).collect();
        assert_eq!(Comparison::new().unwrap().holds(&lines, output), holds, "{page:?} {output:?}");
    }

    #[test]
    fn literal_lines_are_compared() {
        check("Hello\n", "Hello\n", true);
        check("Hello ", "Hello\n", true);
        check("Hello", "Helo\n", false);
        check("Hello", "Hello\nmore\n", false);
        check("Hello", "", false);
        check("", "Hello", false);
        check("a\tb", "a b", false);
        check("hello\t2a4a444", "hello\t2a4a445", false);
        check(
            "Unit a launched on 1cacee43.../10.77.0.13",
            "Unit a launched on 1cacee43.../10.77.0.12",
            false,
        );
    }

    #[test]
    fn dots_stand_for_any_lines() {
        check("...", "", true);
        check("...\nb\n...", "a\na\nb\nc", true);
        check("...\nb\n...", "b", true);
        check("...\nb\n...", "a\nc", false);
        check("a\n...", "b\na", false);
        check("a...", "a\nb", false);
    }

    #[test]
    fn lines_about_a_wait_are_left_out() {
        check("Unit a loaded", "Waiting for unit a (until ctrl-C)\nUnit a loaded\n", true);
        check("Unit a loaded", "Waiting for unit a (until ctrl-C)\n", false);
    }

    #[test]
    fn volatile_values_are_not_compared() {
        for (page, output) in [
            ("Nov 26 14:30:04 core-01 docker[629]: Hello", "Dec  1 04:30:59 core-01 docker[7]: Hello"),
            ("2026/11/26 14:31:15 Parsing", "2027/01/02 03:04:05 Parsing"),
            (
                "Active: active (running) since Thu 2026-11-26 14:30:04 UTC; 5s ago",
                "Active: active (running) since Fri 2026-11-27 14:30:04 UTC; 1min 5s ago",
            ),
            (" start     core-02 is ready      59 s", " start     core-02 is ready  2 min  4 s"),
            ("Error:  100: Key not found (/foo) [60]", "Error:  100: Key not found (/foo) [7]"),
            (
                r#"{"key":"/queue/00000000000000000066","value":"a","modifiedIndex":66,"createdIndex":66}"#,
                r#"{"key":"/queue/00000000000000000007","value":"a","modifiedIndex":7,"createdIndex":8}"#,
            ),
            (
                "core-01  10.77.0.11  127.0.0.1:41435  9999.1.0  a",
                "core-01  10.77.0.11  127.0.0.1:39387  1.2.3  -",
            ),
            ("no cluster (keelson up creates it)", "no cluster (keelson --state-dir /a/b up creates it)"),
            ("Keelson alpha (9999.1.0)", "Keelson alpha (9999.2.0)"),
            (
                "member 1a is at 10.77.0.11\nmember 2b is at 10.77.0.12",
                "member 3c is at 10.77.0.12\nmember 4d is at 10.77.0.11",
            ),
        ] {
            check(page, output, true);
        }
        check(
            "Nov 26 14:30:04 core-01 docker[629]: Hello",
            "Nov 26 14:30:04 core-01 docker[629]: Bye",
            false,
        );
        check("Error:  100: Key not found (/foo) [60]", "Error:  100: Key not found (/bar) [60]", false);
        check("\"value\":\"12\"", "\"value\":\"13\"", false);
    }
}
