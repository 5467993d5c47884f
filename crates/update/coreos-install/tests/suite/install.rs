//! Runs the program on regular files, in folders that stand for the running system.

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpListener;

use disk_install::ImageRecord;
use release::Digest;

use crate::bench::{Bench, CONFIG, MIB};

fn record(name: &str, file: &[u8]) -> String {
    let record = format!(
        r#"{{"version":"3.2.1","channel":"beta","files":[{{"path":"/build/{name}","sha256":"{}"}}]}}"#,
        Digest::of(file)
    );
    ImageRecord::parse(record.as_bytes()).unwrap();
    record
}

#[test]
fn a_live_system_installs_itself() {
    let bench = Bench::new();
    let without = bench.is_refused(&["-d", "disk"]);
    assert!(
        without.contains(
            "so this is no live system; this system has no channel server: no COREOS_RELEASE_APPID"
        ) && without.contains("Name an image file with -f, or a mirror with -b"),
        "{without}"
    );
    bench.put("root/run/keelson/live/disk.raw", &bench.image);
    let live = |digest: Digest| {
        format!(
            r#"{{"version":"3.2.1","channel":"beta","usr_root_hash":"00","disk_sha256":"{digest}","disk_bytes":{}}}"#,
            16 * MIB
        )
    };
    bench.put("root/run/keelson/live/record.json", live(Digest::of(&bench.image)));
    let printed = bench.succeeds(&["-d", "disk", "-c", "config.yml"]);
    let lines: Vec<_> = printed.lines().collect();
    assert!(
        lines[0].starts_with("Writing ") && lines[0].ends_with("run/keelson/live/disk.raw..."),
        "{printed}"
    );
    assert_eq!(
        lines[1..],
        ["Installing cloud-config...", "Success! Keelson beta 3.2.1 is installed on disk"]
    );
    bench.is_installed(Some(CONFIG));
    // The image differs from its record: known only when it was read.
    bench.put("root/run/keelson/live/record.json", live(Digest::of(b"another")));
    let error = bench.fails(&["-d", "disk"]);
    assert!(error.contains("disk has no partition table now, and does not boot"), "{error}");
    assert!(error.contains("the SHA-256 of the disk image is"), "{error}");
    bench.has_no_table();
}

/// The digest of a disk's chunks, as a field of a record.
fn chunks(disk: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), disk).unwrap();
    format!(r#""disk_chunks":"{}""#, disk_formats::chunks::digest(file.as_file()).unwrap())
}

#[test]
fn the_chunks_of_a_disk_verify_it() {
    let bench = Bench::new();
    let mut changed = bench.image.clone();
    changed[2 * MIB] ^= 1;
    let with =
        |text: String, disk: &[u8]| text.replace(r#""sha256""#, &format!(r#"{},"sha256""#, chunks(disk)));
    bench.put("system.raw", &bench.image);
    bench.put("system.json", with(record("system.raw", &bench.image), &bench.image));
    bench.succeeds(&["-d", "disk", "-f", "system.raw", "-c", "config.yml"]);
    bench.is_installed(Some(CONFIG));
    bench.empty_disk();
    bench.put("system.raw", &changed);
    let error = bench.is_refused(&["-d", "disk", "-f", "system.raw"]);
    assert!(error.contains("the digest of the disk image's chunks is"), "{error}");
    // A compressed file is verified without decoding it.
    let file = zstd::encode_all(&*bench.image, 1).unwrap();
    bench.put("system.raw.zst", &file);
    bench.put("system.json", with(record("system.raw.zst", b"another"), &bench.image));
    let error = bench.is_refused(&["-d", "disk", "-f", "system.raw.zst"]);
    assert!(error.contains("the SHA-256 of the image file is"), "{error}");
    // A live system: known only when it was read.
    let live = |disk: &[u8]| {
        format!(
            r#"{{"version":"3.2.1","channel":"beta","disk_sha256":"{}",{},"disk_bytes":{}}}"#,
            Digest::of(b"not used"),
            chunks(disk),
            16 * MIB
        )
    };
    bench.put("root/run/keelson/live/disk.raw", &bench.image);
    bench.put("root/run/keelson/live/record.json", live(&bench.image));
    bench.succeeds(&["-d", "disk"]);
    bench.is_installed(None);
    bench.put("root/run/keelson/live/record.json", live(&changed));
    let error = bench.fails(&["-d", "disk"]);
    assert!(error.contains("the digest of the disk image's chunks is"), "{error}");
    bench.has_no_table();
}

#[test]
fn an_image_file_is_verified_before_the_first_write() {
    let bench = Bench::new();
    let file = zstd::encode_all(&*bench.image, 1).unwrap();
    bench.put("system.raw.zst", &file);
    let unverified = bench.is_refused(&["-d", "disk", "-f", "system.raw.zst"]);
    assert!(unverified.contains("nothing verifies system.raw.zst"), "{unverified}");
    assert!(
        bench
            .succeeds(&["-d", "disk", "-f", "system.raw.zst", "--insecure"])
            .ends_with("Success! Keelson (from system.raw.zst) is installed on disk\n")
    );
    bench.is_installed(None);
    bench.empty_disk();
    bench.put("system.json", record("system.raw.zst", &file));
    bench.succeeds(&["-d", "disk", "-f", "system.raw.zst", "-c", "config.yml"]);
    bench.is_installed(Some(CONFIG));
    bench.put("system.json", record("system.raw.zst", b"another"));
    for insecure in [&["--insecure"][..], &[]] {
        let error = bench.is_refused(&[&["-d", "disk", "-f", "system.raw.zst"], insecure].concat());
        assert!(error.contains("the SHA-256 of the image file is"), "{error}");
    }
}

#[test]
fn a_signature_is_verified_by_its_key() {
    let bench = Bench::new();
    let file = gzip(&bench.image);
    bench.put("system.bin", &file);
    let keys = ["a", "b"].map(|_| minisign::KeyPair::generate_unencrypted_keypair().unwrap());
    for (name, keys) in ["a.pub", "b.pub"].iter().zip(&keys) {
        bench.put(name, keys.pk.to_box().unwrap().to_string());
    }
    let arguments = |key| ["-d", "disk", "-f", "system.bin", "-k", key];
    assert!(bench.is_refused(&arguments("a.pub")).contains("there is no signature of the image"));
    bench.put("system.bin.sig", minisign::sign(None, &keys[0].sk, &*file, None, None).unwrap().to_string());
    assert!(bench.is_refused(&arguments("b.pub")).contains("the signature cannot be verified"));
    bench.succeeds(&arguments("a.pub"));
    bench.is_installed(None);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn a_mirror_is_installed_from_by_the_paths_of_the_original() {
    let bench = Bench::new();
    let file = zstd::encode_all(&*bench.image, 1).unwrap();
    let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    bench.put("key.pub", keys.pk.to_base64());
    let name = "keelson-4.0.0-beta.raw.zst";
    let sign = |name: &str| {
        let comment = format!("timestamp:1\tfile:{name}");
        minisign::sign(None, &keys.sk, &*file, Some(&comment), None).unwrap().to_string().into_bytes()
    };
    let files = |signed: &str| {
        vec![
            ("/m/current/version.txt".to_owned(), b"COREOS_BUILD=4\nCOREOS_VERSION=4.0.0\n".to_vec()),
            (format!("/m/4.0.0/{name}"), file.clone()),
            (format!("/m/4.0.0/{name}.sig"), sign(signed)),
        ]
    };
    let url = serve(files(name));
    let plain = bench.is_refused(&["-d", "disk", "-V", "current", "-b", &url]);
    assert!(plain.contains("is not https"), "{plain}");
    let printed =
        bench.succeeds(&["-d", "disk", "-V", "current", "-b", &url, "-k", "key.pub", "-c", "config.yml"]);
    let expected = [
        "Current version of Keelson beta is 4.0.0".to_owned(),
        format!("Downloading the signature for {url}4.0.0/{name}..."),
        format!("Downloading, writing and verifying {name}..."),
        "Installing cloud-config...".to_owned(),
        "Success! Keelson beta 4.0.0 is installed on disk".to_owned(),
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    bench.is_installed(Some(CONFIG));
    let printed = bench.succeeds(&["-D", "-V", "4.0.0", "-b", &url, "-k", "key.pub"]);
    assert!(printed.ends_with("Success! Keelson beta 4.0.0 has been downloaded to the current directory\n"));
    assert!(fs::read(bench.path(name)).unwrap() == file);
    let missing = bench.is_refused(&["-d", "disk", "-V", "9.0.0", "-b", &url, "--insecure"]);
    assert!(missing.contains("Image URL unavailable: http://"), "{missing}");
    let unsigned = bench.is_refused(&["-d", "disk", "-V", "9.0.0", "-b", &url, "-k", "key.pub"]);
    assert!(unsigned.contains("Image signature unavailable: http://"), "{unsigned}");
    let other = serve(files("keelson-3.0.0-beta.raw.zst"));
    let replayed = bench.is_refused(&["-d", "disk", "-V", "4.0.0", "-b", &other, "-k", "key.pub"]);
    assert!(replayed.contains("the signature is of keelson-3.0.0-beta.raw.zst"), "{replayed}");
}

#[test]
fn a_cloud_config_is_fetched_and_compared_with_its_digest() {
    let bench = Bench::new();
    bench.put("system.raw", &bench.image);
    let url = format!("{}config.yml", serve(vec![("/m/config.yml".to_owned(), CONFIG.as_bytes().to_vec())]));
    let arguments = ["-d", "disk", "-f", "system.raw", "--insecure", "-c", &url, "--config-hash"];
    let other = format!("sha256-{}", Digest::of(b"another"));
    let refused = bench.is_refused(&[&arguments[..], &[&*other]].concat());
    assert!(refused.contains("has the SHA-256"), "{refused}");
    bench.succeeds(&[&arguments[..], &[&*format!("sha256-{}", Digest::of(CONFIG.as_bytes()))]].concat());
    bench.is_installed(Some(CONFIG));
    let missing = url.replace("config.yml", "missing.yml");
    let refused = bench.is_refused(&["-d", "disk", "-f", "system.raw", "--insecure", "-c", &missing]);
    assert!(
        refused.contains("cannot fetch the cloud config: ") && refused.contains("HTTP status 404"),
        "{refused}"
    );
}

/// Serves files until the test ends; returns the URL of `/m/`.
fn serve(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/m/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
            let request = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let mut words = request.split(' ');
            let (method, path) = (words.next().unwrap(), words.next().unwrap_or_default());
            let found = files.iter().find(|(name, _)| name == path);
            let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            )
            .unwrap();
            // The client may close early.
            stream.write_all(if method == "HEAD" { &[] } else { body }).unwrap_or_default();
        }
    });
    url
}

#[test]
fn checks_come_first_and_have_the_original_s_messages() {
    let bench = Bench::new();
    bench.put("system.raw", &bench.image);
    bench.put("system.json", record("system.raw", &bench.image));
    let image = ["-f", "system.raw"];
    let refused = |arguments: &[&str]| bench.is_refused(&[&image[..], arguments].concat());
    let none = refused(&[]);
    assert!(none.starts_with("coreos-install: No target block device provided, -d is required.\n"), "{none}");
    assert!(none.contains("Usage: coreos-install"), "{none}");
    let folder = refused(&["-d", "root"]);
    assert_eq!(folder, "coreos-install: Target block device (root) is not a full disk.\n");
    let missing = refused(&["-d", "disk", "-c", "missing.yml"]);
    assert_eq!(missing, "coreos-install: Cloud config file (missing.yml) does not exist.\n");
    bench.put("bad.yml", "#cloud-config\nhostname: [\n");
    let invalid = refused(&["-d", "disk", "-c", "bad.yml"]);
    assert!(invalid.ends_with("coreos-install: Cloud config file (bad.yml) is not valid.\n"), "{invalid}");
    bench.put("small", vec![0; 8 * MIB]);
    let small = refused(&["-d", "small"]);
    assert!(small.contains("is too small: it has 8388608 bytes, and the system needs 16269824."), "{small}");
    assert!(refused(&["-d", "disk", "-x"]).contains("unexpected argument '-x'"));
    assert!(
        refused(&["-d", "disk", "-u"]).contains("-u is for disks: no firmware starts from the file disk")
    );
    let no_disk = refused(&["-s"]);
    assert_eq!(no_disk, "coreos-install: Could not find smallest disk to install (min. 10GB).\n");
    let before = fs::read(bench.path("disk")).unwrap();
    let settings = bench.succeeds(&["-d", "disk", "-f", "system.raw", "-y"]);
    assert!(settings.starts_with("Settings:\n    VERSION:  3.2.1\n"), "{settings}");
    assert!(fs::read(bench.path("disk")).unwrap() == before);
    assert!(bench.succeeds(&["-h"]).contains("Usage: coreos-install"));
}

#[test]
fn a_loop_device_of_the_file_is_found() {
    let bench = Bench::new();
    bench.put("system.raw", &bench.image);
    let disk = fs::canonicalize(bench.path("disk")).unwrap();
    bench.put("root/sys/block/loop9/loop/backing_file", format!("{}\n", disk.display()));
    let refused = bench.is_refused(&["-d", "disk", "-f", "system.raw", "--insecure"]);
    assert!(refused.contains("(to free it: losetup -d /dev/loop9)"), "{refused}");
    // An image without a partition for the configuration.
    fs::remove_dir_all(bench.path("root/sys/block/loop9")).unwrap();
    let mut image = bench.image.clone();
    rename_oem(&mut image);
    bench.put("system.raw", &image);
    let refused = bench.is_refused(&["-d", "disk", "-f", "system.raw", "--insecure", "-c", "config.yml"]);
    assert!(refused.contains("the image has no partition OEM for the configuration"), "{refused}");
}

/// Renames the partition, by another library.
fn rename_oem(image: &mut Vec<u8>) {
    let config = gpt::GptConfig::new().writable(true);
    let mut table = config.open_from_device(Cursor::new(std::mem::take(image))).unwrap();
    let mut parts = table.partitions().clone();
    parts.values_mut().filter(|part| part.name == "OEM").for_each(|part| part.name = "DATA".to_owned());
    table.update_partitions(parts).unwrap();
    *image = table.write().unwrap().into_inner();
}
