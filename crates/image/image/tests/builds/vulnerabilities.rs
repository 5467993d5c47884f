//! `image cves` of a whole image and of its lock, beside debsecan.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use security_tracker::Installed;

use crate::harness::{first, folder, skip};

/// Vulnerabilities of every package of dpkg's status, of which a part is fixed.
fn feed(packages: &[Installed]) -> Vec<u8> {
    let (mut names, mut vulnerabilities) = (String::new(), String::new());
    for (index, package) in packages.iter().enumerate() {
        let fixed = ["~", "", "+deb13u1", ".1"][index % 4];
        let other = if index % 5 == 0 { &*package.source_version } else { "" };
        let flags = ["SH F", "SM  ", "SL?F"][index % 3];
        writeln!(names, "CVE-2026-{index},,text").unwrap();
        let Installed { source, source_version, .. } = package;
        writeln!(vulnerabilities, "{source},{index},{flags},{source_version}{fixed},{other}").unwrap();
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    write!(encoder, "VERSION 1\n{names}\n{vulnerabilities}\n").unwrap();
    encoder.finish().unwrap()
}

/// `ID PACKAGE` of each finding.
fn ours(arguments: &[&str]) -> BTreeSet<String> {
    let output = first().build.keelson(&[&["--json", "image", "cves"], arguments].concat()).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let fixable = json["fixable"].as_u64().unwrap() > 0;
    assert_eq!(output.status.code(), Some(i32::from(fixable)));
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let found = json["vulnerabilities"].as_array().unwrap().iter();
    found.map(|one| format!("{} {}", text(&one["id"]), text(&one["package"]))).collect()
}

/// The same of debsecan; `None` if it is not installed.
fn debsecan(data: &Path, status: &Path) -> Option<BTreeSet<String>> {
    let source = format!("--source=file://{}/", data.display());
    let arguments =
        ["--suite=trixie", "--format=simple", "--config=/dev/null", "--whitelist=/dev/null/none", &source];
    let output = Command::new("debsecan").args(arguments).arg("--status").arg(status).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

/// dpkg's status in the tree of `/usr` from which the image was made.
fn status() -> PathBuf {
    let mut trees = fs::read_dir(first().build.work.join("system")).unwrap();
    trees.next().unwrap().unwrap().path().join("usr/lib/dpkg/status")
}

#[test]
#[ignore = "builds whole images: cargo verify image"]
fn an_image_has_the_vulnerabilities_that_debsecan_finds() {
    let packages = security_tracker::read_status(&fs::read_to_string(status()).unwrap()).unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    let data = folder().join("tracker");
    fs::create_dir_all(&data).unwrap();
    let file = data.join("trixie");
    fs::write(&file, feed(&packages)).unwrap();
    let data_argument = ["--data", file.to_str().unwrap()];
    let lock = first().build.checkout.join("os/packages.lock");
    let of_status = ours(&[&data_argument[..], &["--status", status().to_str().unwrap()]].concat());
    assert!(of_status.len() > packages.len() / 3, "{} findings", of_status.len());
    let finished = &first().finished;
    for format in ["raw", "qcow2"] {
        let image = finished.path(format);
        assert_eq!(ours(&[&data_argument[..], &[image.to_str().unwrap()]].concat()), of_status, "{format}");
    }
    assert_eq!(ours(&[&data_argument[..], &["--lock", lock.to_str().unwrap()]].concat()), of_status);
    match debsecan(&data, &status()) {
        Some(theirs) => assert_eq!(of_status, theirs),
        None => {
            skip("vulnerabilities", "no debsecan here (apt-get install --no-install-recommends debsecan)")
        }
    }
}
