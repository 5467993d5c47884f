//! Time of an installation of a raw image beside a bare copy of the same bytes, for `cargo xtask bench install`.
//!
//! Both read the image from the page cache, leave zeros as holes, and end when the disk has everything. The installation
//! also compares the image with its digest and the disk with what was written. `coreos-install -f` verifies the image as a
//! whole before that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it fails by panicking")]

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use disk_install::{DiskTarget, Expected, ImageStream, Installation, Phase, install, verify_file};
use release::Digest;

/// In turn, since the host has other load.
const ROUNDS: usize = 5;
const CHUNK: usize = 1 << 20;
const GIB: u64 = 1 << 30;
/// Of the disk.
const DISK: u64 = 4 * GIB;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [image, folder] = &arguments[..] else { panic!("install IMAGE FOLDER") };
    let (image, folder) = (Path::new(image), Path::new(folder));
    fs::create_dir_all(folder).unwrap();
    // Also fills the page cache.
    let digest = digest(image);
    let (mut copies, mut installations, mut verified) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(timed(&folder.join("copy"), |to| copy(image, to)));
        installations.push(timed(&folder.join("disk"), |to| install_to(image, digest, to)));
        verified.push(timed(&folder.join("disk"), |to| {
            verify_file(&File::open(image).unwrap(), &expected(digest)).unwrap();
            install_to(image, digest, to);
        }));
    }
    fs::remove_dir_all(folder).unwrap();
    let copy = Times::new(copies);
    let print = |what: &str, target: &str, own: &Times| {
        let ratio = own.median() / copy.median();
        println!("figure\t{what}\t{target}\t{ratio:.2} times: {own} against {copy}");
    };
    let what =
        "installation of a raw image to a file, verified and read back, beside a bare copy with a flush";
    print(what, "<= 1.5 times", &Times::new(installations));
    print(
        "the same, the image also verified as a whole before the first write (`-f`)",
        "",
        &Times::new(verified),
    );
}

/// Sorted, in seconds.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(|time| format!("{time:.2}")).collect();
        write!(out, "{:.2} s ({})", self.median(), all.join(", "))
    }
}

fn expected(digest: Digest) -> Expected<'static> {
    Expected { chunks: Some(digest), ..Expected::default() }
}

/// The time of writing to a new file, in seconds.
fn timed(path: &Path, write: impl FnOnce(&Path)) -> f64 {
    File::create(path).unwrap().set_len(DISK).unwrap();
    let started = Instant::now();
    write(path);
    let took = started.elapsed().as_secs_f64();
    fs::remove_file(path).unwrap();
    took
}

fn digest(image: &Path) -> Digest {
    let image = File::open(image).unwrap();
    // Holes are in the page cache only when they were read.
    io::copy(&mut &image, &mut io::sink()).unwrap();
    disk_formats::chunks::digest(&image).unwrap()
}

fn copy(image: &Path, to: &Path) {
    let (mut from, to) = (File::open(image).unwrap(), File::options().write(true).open(to).unwrap());
    let (mut buffer, zeros, mut at) = (vec![0; CHUNK], vec![0; CHUNK], 0);
    loop {
        let read = from.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        if buffer[..read] != zeros[..read] {
            to.write_all_at(&buffer[..read], at).unwrap();
        }
        at += read as u64;
    }
    to.sync_all().unwrap();
}

fn install_to(image: &Path, digest: Digest, to: &Path) {
    let mut stream = ImageStream::new(File::open(image).unwrap(), expected(digest)).unwrap();
    let installation = Installation::begin::<Infallible>(&mut stream, |_| DISK).unwrap();
    let mut target = DiskTarget::open(to).unwrap();
    let add_files = |_: &mut DiskTarget| Ok::<_, Infallible>(());
    let (started, mut written) = (Instant::now(), 0.0);
    let mut report = |phase, done, total| {
        if phase == Phase::Writing && done == total {
            written = started.elapsed().as_secs_f64();
        }
    };
    install(&installation, stream, &mut target, ImageStream::verify, add_files, &mut report).unwrap();
    eprintln!("written after {written:.2} s, verified after {:.2} s", started.elapsed().as_secs_f64());
}
