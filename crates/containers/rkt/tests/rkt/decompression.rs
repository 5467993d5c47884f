//! Compressed images, which a process without rights decompresses.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::archive;
use crate::lab::Lab;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    // As zstd(1) does: otherwise changed bytes may be found by their layer's digest only, when it is unpacked.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

type Encode = fn(&[u8]) -> Vec<u8>;

#[test]
fn compressed_images_run() {
    let Some(lab) = Lab::start("compressed_images_run") else { return };
    let layer = archive::layer(&archive::busybox().unwrap());
    for (name, encode) in [("gz", gzip as Encode), ("zst", zstd)] {
        let settings = json!({ "Cmd": ["echo", name], "Env": ["PATH=/bin"] });
        let plain = archive::docker_archive(&layer, &settings, &format!("example.com/{name}:1"));
        let file = lab.path(name);
        fs::write(&file, encode(&plain)).unwrap();
        let run = ["run", "--insecure-options=image", "--net=none", &file];
        assert_eq!(lab.ok(&run), format!("{name}\n"));
    }
    let plain = archive::docker_archive(&layer, &json!({ "Cmd": ["sh"] }), "example.com/damaged:1");
    for (name, encode) in [("damaged.gz", gzip as Encode), ("damaged.zst", zstd)] {
        let file = lab.path(name);
        for damage in 0..3 {
            let mut bytes = encode(&plain);
            let middle = bytes.len() / 2;
            match damage {
                0 => bytes.truncate(middle),
                1 => bytes[middle..middle + 64].fill(0xff),
                _ => bytes.extend([7; 64]),
            }
            fs::write(&file, bytes).unwrap();
            lab.fails(&["fetch", "--insecure-options=image", &file], "cannot import");
        }
    }
    assert_eq!(lab.ok(&["image", "list", "--no-legend"]).lines().count(), 2);
}

#[test]
fn the_process_has_no_rights() {
    let Some(lab) = Lab::start("the_process_has_no_rights") else { return };
    // Of the host's, to see that they are closed.
    let inherited = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    for compression in ["gzip", "zstd"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rkt"))
            .arg0("oci-decompressor")
            .args([compression, &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let of = |name: &str| format!("/proc/{}/{name}", child.id());
        let status = lab.wait_for("a restricted process", || {
            let status = fs::read_to_string(of("status")).unwrap();
            if status.contains("Seccomp:\t2") { Ok(status) } else { Err(status) }
        });
        for line in [
            "Uid:\t65534\t65534\t65534\t65534",
            "Gid:\t65534\t65534\t65534\t65534",
            "Groups:\t \n",
            "CapPrm:\t0000000000000000",
            "CapEff:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let open = fs::read_dir(of("fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
        let open: Vec<_> = open.collect();
        assert!(!open.contains(&"/".into()), "{open:?}");
        child.stdin.take().unwrap().write_all(b"nonsense").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
