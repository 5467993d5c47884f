//! The same findings as debsecan, for the same feed and status.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{FEED, Folder, STATUS, compress};

/// `CVE PACKAGE` lines of debsecan.
fn debsecan(folder: &Path, status: &Path, more: &[&str]) -> BTreeSet<String> {
    let source = format!("--source=file://{}/", folder.display());
    let output = Command::new("debsecan")
        .args([
            "--suite=trixie",
            "--format=simple",
            "--config=/dev/null",
            "--whitelist=/dev/null/none",
            &source,
        ])
        .arg("--status")
        .arg(status)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Random numbers below a limit.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn choose<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn version(&mut self) -> String {
        let parts =
            ["0", "1", "2", "10", "01", "a", "b", "~", "~rc1", "+", "+b1", "+deb13u1", ".", ".1", ".10"];
        let mut version =
            self.choose(&["", "", "", "0:", "1:", "2:"]).to_owned() + self.choose(&["0", "1", "9", "10"]);
        for _ in 0..self.below(4) {
            version += self.choose(&parts);
        }
        if self.below(2) == 0 {
            version += "-";
            version += self.choose(&["0", "1", "1+b1", "1~deb13u1", "1.1", "10"]);
        }
        version
    }
}

/// A feed and a status about few names, so that they often meet.
fn random_case(random: &mut Random) -> (String, String) {
    let names = ["alpha", "beta", "gamma", "delta", "libx1", "libx-dev", "kernel+", "0ad"];
    let mut feed = "VERSION 1\n".to_owned();
    for number in 0..40 {
        feed += &format!("CVE-2026-{number},,text, with commas\n");
    }
    feed += "\n";
    for _ in 0..120 {
        let unstable = if random.below(4) == 0 { String::new() } else { random.version() };
        let others: Vec<String> = (0..random.below(4)).map(|_| random.version()).collect();
        feed += &format!(
            "{},{},{}{}{}{},{unstable},{}\n",
            random.choose(&names),
            random.below(40),
            random.choose(&["S", "S", "S", "B"]),
            random.choose(&["H", "M", "L", " "]),
            random.choose(&["R", "?", " "]),
            random.choose(&["F", " "]),
            others.join(" "),
        );
    }
    feed += "\nalpha,alpha libx1\nbeta,\n";
    let mut status = String::new();
    for name in names {
        status += &format!("Package: {name}\nStatus: ");
        status += random.choose(&[
            "install ok installed",
            "install ok installed",
            "hold ok installed",
            "deinstall ok config-files",
        ]);
        status += &format!("\nVersion: {}\nDescription: text\n more\n .\n", random.version());
        match random.below(3) {
            0 => status += &format!("Source: {}\n", random.choose(&names)),
            1 => status += &format!("Source: {} ({})\n", random.choose(&names), random.version()),
            _ => {}
        }
        status += "\n";
    }
    (feed, status)
}

/// Compares both reports; returns how many findings there are.
fn compare(folder: &Folder, feed: &str, status: &str) -> usize {
    folder.write("trixie", compress(feed));
    let status = folder.write("status", status);
    let mut count = 0;
    for only_fixed in [&[] as &[&str], &["--only-fixed"]] {
        let output =
            folder.cves(&[&["--data", "trixie", "--status", &status, "--json"], only_fixed].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}"));
        let found = value["vulnerabilities"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let ours: BTreeSet<String> =
            found.map(|one| format!("{} {}", text(&one["id"]), text(&one["package"]))).collect();
        let theirs = debsecan(folder.0.path(), Path::new(&status), only_fixed);
        assert_eq!(ours, theirs, "{only_fixed:?}\n{feed}\n{status}");
        count += ours.len();
    }
    count
}

#[test]
#[ignore = "wants debsecan: cargo verify wants"]
fn it_finds_what_debsecan_finds() {
    let folder = Folder::new();
    assert_eq!(compare(&folder, FEED, STATUS), 4);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut count = 0;
    for _ in 0..40 {
        let (feed, status) = random_case(&mut random);
        if status.contains(" installed") {
            count += compare(&folder, &feed, &status);
        }
    }
    assert!(count > 1000, "the cases have only {count} findings");
    // The packages of this host, half of them with a vulnerability.
    let host = fs::read_to_string("/var/lib/dpkg/status").unwrap();
    let packages = security_tracker::read_status(&host).unwrap();
    let mut feed = "VERSION 1\nCVE-2026-1,,text\n\n".to_owned();
    for package in &packages {
        let version = package.source_version.clone() + random.choose(&["", "~", "+deb13u1", ".1"]);
        feed += &format!("{},0,S {},{version},\n", package.source, random.choose(&[" F", "  ", "R "]));
    }
    let found = compare(&folder, &(feed + "\n"), &host);
    assert!(found > packages.len() / 4, "{found} findings in {} packages", packages.len());
}
