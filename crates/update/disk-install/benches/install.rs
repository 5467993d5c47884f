//! Time of an installation of a raw image beside a bare copy of the same bytes, for `cargo xtask bench install`.
//!
//! Both read the image from the page cache, leave zeros as holes, and end when the disk has everything. The installation
//! also compares the image with its digest and the disk with what was written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it fails by panicking")]

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use disk_install::{DiskTarget, Expected, ImageStream, Installation, Phase, install};
use release::Digest;
use sha2::{Digest as _, Sha256};

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
    let (mut copies, mut installations) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        copies.push(timed(&folder.join("copy"), |to| copy(image, to)));
        installations.push(timed(&folder.join("disk"), |to| install_to(image, digest, to)));
    }
    fs::remove_dir_all(folder).unwrap();
    let (copy, own) = (median(&mut copies), median(&mut installations));
    let list = |times: &[f64]| times.iter().map(|time| format!("{time:.2}")).collect::<Vec<_>>().join(", ");
    println!(
        "figure\tinstallation of a raw image to a file, verified and read back, beside a bare copy with a flush\t\
         <= 1.5 times\t{:.2} times: {own:.2} s ({}) against {copy:.2} s ({})",
        own / copy,
        list(&installations),
        list(&copies)
    );
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

/// Sorts the times.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn digest(image: &Path) -> Digest {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(image).unwrap(), &mut hasher).unwrap();
    Digest::from_hasher(hasher)
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
    let expected = Expected { disk: Some(digest), ..Expected::default() };
    let mut stream = ImageStream::new(File::open(image).unwrap(), expected).unwrap();
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
