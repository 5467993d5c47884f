//! `keelson image cves`: reports, the download of the data, and agreement with debsecan.

mod debsecan;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use security_tracker::Copy;
use serde_json::Value;

const STATUS: &str = "Package: bash\nStatus: install ok installed\nVersion: 5.2-1+b1\nSource: bash (5.2-1)\n\n\
    Package: libssl3\nStatus: install ok installed\nVersion: 3.5-1\nSource: openssl\n\n\
    Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
    Package: tar\nStatus: install ok installed\nVersion: 1.35-3\n";
const FEED: &str = "VERSION 1\nCVE-2026-10,,bash executes words\nCVE-2026-9,,openssl reads beyond the end\n\
    CVE-2026-8,,tar leaves its folder\nCVE-2026-7,,fixed\n\n\
    bash,0,SM F,5.3-1,5.2-2\nopenssl,1,SHR ,3.6-1,\ntar,2,SL? ,,\nbash,3,SH F,5.1-1,\nold,0,SH F,2,\n\n\
    bash,bash\nopenssl,libssl3\ntar,tar\n\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("status", STATUS);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The stored copy.
    fn stored(&self) -> PathBuf {
        self.path(".local/state/keelson/security-tracker/trixie")
    }

    fn cves(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_keelson"))
            .args([&["image", "cves"], arguments].concat())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path())
            .current_dir(self.0.path())
            .stdin(Stdio::from(fs::File::open(self.path("status")).unwrap()))
            .output()
            .unwrap()
    }

    /// Checks the exit code; returns stdout and stderr.
    fn check(&self, arguments: &[&str], code: i32) -> (String, String) {
        let output = self.cves(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    /// Checks that it fails with this message, and without a result.
    fn fails(&self, arguments: &[&str], code: i32, expect: &str) {
        let (stdout, stderr) = self.check(arguments, code);
        assert!(stdout.is_empty() && stderr.contains(expect), "{arguments:?}: {stdout}{stderr}");
    }
}

fn compress(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn copy(release: &str, date: &str) -> Vec<u8> {
    let (release, date) = (release.to_owned(), date.parse().unwrap());
    Copy { release, date, url: "http://a.example/".to_owned(), feed: compress(FEED) }.write()
}

#[test]
fn vulnerabilities_are_listed_most_urgent_first() {
    let folder = Folder::new();
    let data = folder.write("feed", compress(FEED));
    let arguments = ["--data", &data, "--status", "status"];
    let (stdout, stderr) = folder.check(&arguments, 1);
    let (table, summary) = stdout.split_once("\n\n").unwrap();
    let expect = "URGENCY  VULNERABILITY  PACKAGE  INSTALLED  FIXED IN\n\
        high     CVE-2026-9     libssl3  3.5-1      unstable: 3.6-1\n\
        medium   CVE-2026-10    bash     5.2-1+b1   5.2-2\n\
        low      CVE-2026-8     tar      1.35-3     -";
    assert_eq!(table, expect, "{stderr}");
    assert!(summary.starts_with("3 vulnerabilities in 3 of 3 packages, 1 with a fixed version\nData of 20"));
    assert!(!stderr.contains("warning"), "{stderr}");
    // A node's status on stdin.
    assert_eq!(folder.check(&["--data", &data, "--status", "-"], 1).0, stdout);
    let (fixed, _) = folder.check(&[&arguments[..], &["--only-fixed"]].concat(), 1);
    assert!(fixed.contains("CVE-2026-10") && !fixed.contains("CVE-2026-9 "), "{fixed}");
}

#[test]
fn json_is_one_document() {
    let folder = Folder::new();
    let data = folder.write("feed", compress(FEED));
    let (stdout, _) = folder.check(&["--data", &data, "--status", "status", "--json"], 1);
    let value: Value = serde_json::from_str(&stdout).unwrap();
    let expect = serde_json::json!({
        "id": "CVE-2026-10", "package": "bash", "installed": "5.2-1+b1", "source": "bash",
        "source_version": "5.2-1", "urgency": "medium", "remote": false, "fix_available": true,
        "fixed_in": "5.2-2", "fixed_in_unstable": "5.3-1", "description": "bash executes words",
    });
    assert_eq!(value["vulnerabilities"][1], expect);
    assert_eq!((&value["fixable"], &value["packages"]), (&1.into(), &3.into()));
    assert_eq!((&value["data"]["release"], &value["data"]["outdated"]), (&"trixie".into(), &false.into()));
}

#[test]
fn without_a_fixed_version_it_succeeds() {
    let folder = Folder::new();
    let data = folder.write("feed", compress(FEED));
    let others = STATUS.replace("5.2-1", "5.2-2");
    let status = folder.write("others", &others);
    let (stdout, _) = folder.check(&["--data", &data, "--status", &status], 0);
    assert!(stdout.contains("2 vulnerabilities in 2 of 3 packages, 0 with a fixed version"), "{stdout}");
    let (stdout, _) = folder.check(&["--data", &data, "--status", &status, "--only-fixed"], 0);
    assert!(stdout.starts_with("0 vulnerabilities in 0 of 3 packages"), "{stdout}");
}

#[test]
fn the_lock_has_the_sources_of_its_packages() {
    let folder = Folder::new();
    let data = folder.write("feed", compress(FEED));
    let entry = |name: &str, version: &str, source: &str, tree: &str| {
        let digest = "0".repeat(64);
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\narchitecture = \"amd64\"\n{source}\
             path = \"pool/main/p/pool/x.deb\"\nsize = 1\nsha256 = \"{digest}\"\ntrees = [\"{tree}\"]\n"
        )
    };
    let lock = entry("libssl3", "3.5-1", "source = \"openssl\"\n", "system")
        + &entry("bash", "5.2-2+b1", "source = \"bash (5.2-1)\"\n", "system")
        + &entry("tar", "1.35-3", "source = \"tar\"\n", "tools");
    let lock = folder.write("lock", lock);
    let (stdout, _) = folder.check(&["--data", &data, "--lock", &lock], 1);
    for expect in ["libssl3", "bash     5.2-2+b1   5.2-2", "2 vulnerabilities in 2 of 2 packages"] {
        assert!(stdout.contains(expect), "{stdout}");
    }
}

#[test]
fn wrong_use_and_bad_data_are_refused() {
    let folder = Folder::new();
    folder.write("feed", compress(FEED));
    folder.fails(&["--lock", "a", "--status", "b"], 2, "cannot be used with");
    folder.fails(&["image.raw", "--status", "b"], 2, "cannot be used with");
    folder.fails(&["--refresh", "--data", "b"], 2, "cannot be used with");
    folder.fails(&["--refresh", "--source", "ftp://a"], 2, "invalid server URL");
    folder.fails(&["--status", "status"], 1, "error: there is no data of Debian's security tracker in ");
    folder.fails(&["--status", "status"], 1, "hint: keelson image cves --refresh");
    folder.fails(&["--data", "feed"], 1, "not in a checkout of Keelson");
    folder.fails(&["--data", "feed", "--status", "none"], 1, "error: cannot read none: No such file");
    folder.write("empty", "");
    folder.fails(&["--data", "feed", "--status", "empty"], 1, "no installed package");
    folder.write("broken", "Package: a\nnothing\n");
    folder.fails(&["--data", "feed", "--status", "broken"], 1, "broken is no status of dpkg: line 2");
    for (name, content, expect) in [
        ("text", FEED.as_bytes().to_vec(), "the compressed data is damaged or truncated at byte"),
        ("cut", compress(FEED)[..60].to_vec(), "the compressed data is damaged or truncated at byte"),
        ("version", compress(FEED.replace("VERSION 1", "VERSION 2")), "line 1: expected `VERSION 1`"),
        ("line", compress(FEED.replace("SHR ", "SXR ")), "line 8: invalid flags"),
        ("other", copy("bookworm", "2026-11-27T00:00:00Z"), "is for bookworm: the images are trixie"),
    ] {
        folder.write(name, content);
        folder.fails(&["--data", name, "--status", "status"], 1, expect);
    }
}

#[test]
fn the_date_is_the_copys_and_old_data_causes_a_warning() {
    let folder = Folder::new();
    // The file is new, the data is not.
    folder.write("old", copy("trixie", "2026-01-01T00:00:00Z"));
    let (stdout, stderr) = folder.check(&["--data", "old", "--status", "status"], 1);
    assert!(stdout.ends_with("Data of 2026-01-01\n"), "{stdout}");
    assert!(stderr.contains("warning: the data is ") && stderr.contains(" days old"), "{stderr}");
    let (stdout, _) = folder.check(&["--data", "old", "--status", "status", "--json"], 1);
    let value: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(value["data"]["outdated"], true);
    // A feed as debsecan downloads it has the date of its file.
    let feed = fs::File::create(folder.path("feed")).unwrap();
    (&feed).write_all(&compress(FEED)).unwrap();
    feed.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000)).unwrap();
    let (stdout, stderr) = folder.check(&["--data", "feed", "--status", "status"], 1);
    assert!(stdout.ends_with("Data of 2023-11-14\n") && stderr.contains("days old"), "{stdout}{stderr}");
}

/// Serves one response for each request; returns the URL of its folder, and the requested paths.
fn serve(responses: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/release/1/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut paths = Vec::new();
        for response in responses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            paths.push(request.split(' ').nth(1).unwrap().to_owned());
            stream.write_all(&response).unwrap();
        }
        paths
    });
    (url, server)
}

fn response(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

#[test]
fn the_data_is_downloaded_and_a_bad_response_keeps_the_old_copy() {
    let folder = Folder::new();
    let good = compress(FEED);
    let other_version = compress(FEED.replace("VERSION 1", "VERSION 2"));
    let nothing = compress("VERSION 1\n\n\n");
    let (url, server) = serve(vec![
        response("200 OK", good.len(), &good),
        response("404 Not Found", 0, b""),
        response("200 OK", good.len(), &good[..good.len() / 2]),
        response("200 OK", good.len() / 2, &good[..good.len() / 2]),
        response("200 OK", 6, b"<html>"),
        response("200 OK", other_version.len(), &other_version),
        response("200 OK", nothing.len(), &nothing),
        response("200 OK", good.len(), &good),
        response("200 OK\r\nLast-Modified: Fri, 20 Nov 2020 10:00:00 GMT", good.len(), &good),
    ]);
    let refresh = ["--refresh", "--source", &url];
    let (stdout, _) = folder.check(&refresh, 0);
    assert_eq!(stdout.trim_end(), folder.stored().to_str().unwrap());
    let stored = fs::read(folder.stored()).unwrap();
    assert_eq!(Copy::read(&stored).unwrap().url, format!("{url}trixie"));
    for expect in [
        "404",
        "cannot download",
        "damaged or truncated",
        "damaged",
        "line 1: expected",
        "no vulnerabilities",
    ] {
        folder.fails(&refresh, 1, expect);
        assert_eq!(fs::read(folder.stored()).unwrap(), stored, "{expect}");
    }
    let files = fs::read_dir(folder.stored().parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "a failed download leaves no file");
    // The copy is the default, and a download can be followed by a report.
    let (first, _) = folder.check(&["--status", "status"], 1);
    let (second, _) = folder.check(&[&refresh[..], &["--status", "status"]].concat(), 1);
    assert_eq!(first, second);
    // A mirror that is no longer updated.
    let (old, stderr) = folder.check(&[&refresh[..], &["--status", "status"]].concat(), 1);
    assert!(old.ends_with("Data of 2020-11-20\n") && stderr.contains("days old"), "{old}{stderr}");
    assert!(server.join().unwrap().iter().all(|path| path == "/release/1/trixie"));
}
