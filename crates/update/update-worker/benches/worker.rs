//! What children cost: a payload from a server on this host, applied with and without them.
//!
//! `cargo bench -p update-worker -- NEW [OLD]`: image files. Without OLD the payload is full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "it fails by panicking")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use payload::{
    Apply, DeltaBase, ImageTarget, Index, Input, Options, Partition, ReadAt, Source, pack, pack_delta,
};
use update_worker::{Isolation, Transfers, Unpacker, WORKER_NAME};

const RUNS: usize = 5;
/// Packing is not measured.
const LEVEL: i32 = 3;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().collect();
    if args.first().is_some_and(|name| name == WORKER_NAME) {
        return update_worker::run(&args.split_off(1));
    }
    args.retain(|argument| argument != "--bench");
    match &args[1..] {
        [new] => measure(Path::new(new), None),
        [new, old] => measure(Path::new(new), Some(Path::new(old))),
        _ => println!("cargo bench -p update-worker -- NEW [OLD]"),
    }
    ExitCode::SUCCESS
}

fn measure(new: &Path, old: Option<&Path>) {
    let folder = tempfile::tempdir_in(new.parent().unwrap()).unwrap();
    let options = Options { level: LEVEL, ..Options::default() };
    let images = [Input { role: "usr", path: new }];
    let packed = match old {
        None => pack(&images, options, folder.path(), &mut |_| {}).unwrap(),
        Some(old) => {
            let images_before = [Input { role: "usr", path: old }];
            let before = DeltaBase { images: &images_before, full: None };
            pack_delta(before, &images, options, folder.path(), &mut |_| {}).unwrap()
        }
    };
    let url = serve(packed.blob_path.clone());
    let target = folder.path().join("target");
    let kinds = [("in this process", Isolation::InProcess), ("in children", Isolation::own_program())];
    let mut best = [f64::INFINITY; 2];
    // Interleaved, so that other load affects both equally.
    for _ in 0..RUNS {
        for ((_, isolation), best) in kinds.iter().zip(&mut best) {
            let file = File::create(&target).unwrap();
            file.set_len(new.metadata().unwrap().len()).unwrap();
            file.sync_all().unwrap();
            let started = Instant::now();
            apply(&packed.index, &url, &target, old, isolation);
            *best = best.min(started.elapsed().as_secs_f64());
        }
    }
    let [inside, children] = best;
    let share = children / inside;
    println!("{} MiB, blob {} MiB", packed.index.output_size() >> 20, packed.blob_size >> 20);
    println!("in this process {inside:.2} s, in children {children:.2} s: {share:.2} times");
}

struct Blob<'a> {
    transfers: &'a Transfers,
    url: &'a str,
}

impl Source for Blob<'_> {
    fn fetch(&mut self, range: Range<u64>) -> io::Result<Box<dyn Read + '_>> {
        let body = self.transfers.range(self.url, &range, &|| false).map_err(io::Error::other)?;
        Ok(Box::new(body))
    }
}

fn apply(index: &Index, url: &str, target: &Path, old: Option<&Path>, isolation: &Isolation) {
    let (transfers, target) = (Transfers::new(isolation), Partition::open(target).unwrap());
    let old = old.map(|old| File::open(old).unwrap());
    let part = ImageTarget { role: "usr", target: &target, old: old.as_ref().map(|old| old as &dyn ReadAt) };
    let mut unpacker = Unpacker::new(isolation);
    payload::apply(Apply {
        index,
        blob: &mut Blob { transfers: &transfers, url },
        full: None,
        parts: &[part],
        unpacker: &mut unpacker,
        resume: false,
        progress: &mut |_| {},
        cancelled: &|| false,
    })
    .unwrap();
    if *isolation != Isolation::InProcess {
        println!("peak memory of the children: {}", peaks());
    }
}

/// Peak memory of this process's children, in MiB.
fn peaks() -> String {
    let own = format!("PPid:\t{}\n", std::process::id());
    let statuses = fs::read_dir("/proc").unwrap().flatten();
    let statuses = statuses.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let peaks = statuses.filter(|status| status.contains(&own)).map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB").trim();
        let kibibytes: u64 = line.trim_end_matches(" kB").parse().unwrap();
        (kibibytes / 1024).to_string()
    });
    peaks.collect::<Vec<_>>().join(", ")
}

/// Serves ranges of a file.
fn serve(blob: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/blob", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let file = File::open(&blob).unwrap();
            std::thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                while let Some(line) = lines.find(|line| line.to_lowercase().starts_with("range: bytes=")) {
                    let (start, last) = line[13..].split_once('-').unwrap();
                    let (start, last): (u64, u64) = (start.parse().unwrap(), last.parse().unwrap());
                    let mut body = vec![0; (last + 1 - start) as usize];
                    file.read_exact_at(&mut body, start).unwrap();
                    let head = format!(
                        "HTTP/1.1 206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{last}/*\r\n\r\n",
                        body.len()
                    );
                    let mut to = &stream;
                    if to.write_all(head.as_bytes()).and_then(|()| to.write_all(&body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}
