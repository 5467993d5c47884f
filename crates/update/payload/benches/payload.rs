//! Sizes, times and memory usage of payloads of two real `/usr` images, for `cargo xtask bench payload`.
//!
//! Steps whose memory is measured run in a separate process of this program, with the step as the first argument.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it fails by panicking")]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use payload::verity::Parameters;
use payload::{
    Apply, DeltaBase, Digest, DirectReader, Expected, GrowingFile, ImageTarget, Index, Input, Options,
    Packed, Partition, ReadAt, pack, pack_delta, read_back_tree,
};

const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// Best of several runs, since the machine has other load.
const RUNS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["apply", index, blob, image, target, old] => apply_once(index, blob, image, target, old),
        ["check", index, target, folder] => check_once(index, target, folder),
        ["copy", from, to] => copy_once(from, to),
        [old, new, out] => measure(Path::new(old), Path::new(new), Path::new(out)),
        _ => panic!("payload OLD-FOLDER NEW-FOLDER OUT-FOLDER"),
    }
}

fn figure(what: &str, target: &str, measured: &str) {
    println!("figure\t{what}\t{target}\t{measured}");
}

/// Both folders contain `usr.erofs` and `uki.efi`, the new one also `usr.verity` and `root-hash`.
fn measure(old: &Path, new: &Path, out: &Path) {
    let [old_usr, new_usr] = [old, new].map(|folder| folder.join("usr.erofs"));
    let [old_uki, new_uki] = [old, new].map(|folder| folder.join("uki.efi"));
    let before = [Input { role: "usr", path: &old_usr }, Input { role: "uki", path: &old_uki }];
    let after = [Input { role: "usr", path: &new_usr }, Input { role: "uki", path: &new_uki }];
    let started = Instant::now();
    let full = pack(&after, Options::default(), out, &mut |_| {}).unwrap();
    let full_took = started.elapsed();
    let started = Instant::now();
    let old = DeltaBase { images: &before, full: Some(&full) };
    let delta = pack_delta(old, &after, Options::default(), out, &mut |_| {}).unwrap();
    let delta_took = started.elapsed();
    sizes(&full, full_took, &delta, delta_took);
    times(&full, &delta, &old_usr, &new_usr, new, out);
}

fn sizes(full: &Packed, full_took: Duration, delta: &Packed, delta_took: Duration) {
    let share = |part: u64, whole: u64| format!("{:.2} %", part as f64 * 100.0 / whole as f64);
    let size = full.index.image("usr").unwrap().size;
    let packed = |packed: &Packed, role: &str| -> u64 {
        let segments = &packed.index.image(role).unwrap().segments;
        segments.iter().map(|segment| u64::from(segment.blob_length)).sum()
    };
    figure(
        "full payload of /usr, of its tree",
        "<= 33 %",
        &format!(
            "{} ({:.1} of {:.1} MiB; packed in {:.0} s)",
            share(packed(full, "usr"), size),
            packed(full, "usr") as f64 / MEBIBYTE,
            size as f64 / MEBIBYTE,
            full_took.as_secs_f64()
        ),
    );
    figure(
        "delta, of the full payload",
        "",
        &format!(
            "{} ({:.0} of {:.0} KiB; packed in {:.0} s)",
            share(delta.blob_size, full.blob_size),
            delta.blob_size as f64 / 1024.0,
            full.blob_size as f64 / 1024.0,
            delta_took.as_secs_f64()
        ),
    );
    figure(
        "the boot image in that delta, of it in full",
        "",
        &format!("{} of {} bytes", packed(delta, "uki"), packed(full, "uki")),
    );
    figure(
        "index of the full payload, of the delta",
        "",
        &format!("{}, {} bytes", full.index_size, delta.index_size),
    );
}

fn times(full: &Packed, delta: &Packed, old_usr: &Path, new_usr: &Path, new: &Path, out: &Path) {
    let target = out.join("target");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let apply = |packed: &Packed, old: &str| {
        vec![
            "apply".into(),
            text(&packed.index_path),
            text(&packed.blob_path),
            "usr".into(),
            text(&target),
            old.into(),
        ]
    };
    // Interleaved, so that other load affects all of them equally.
    let jobs = [
        vec!["copy".into(), text(new_usr), text(&target)],
        apply(full, ""),
        apply(delta, &text(old_usr)),
        vec!["check".into(), text(&full.index_path), text(&target), text(new)],
    ];
    let mut best = [(f64::INFINITY, 0.0_f64); 4];
    for _ in 0..RUNS {
        for (job, best) in jobs.iter().zip(&mut best) {
            // The space of a slot is allocated already.
            if job[0] != "check" {
                fs::remove_file(&target).ok();
                let file = File::create(&target).unwrap();
                file.set_len(new_usr.metadata().unwrap().len()).unwrap();
                file.sync_all().unwrap();
            }
            let (took, peak) = step(job);
            *best = (best.0.min(took), best.1.max(peak));
        }
    }
    fs::remove_file(&target).unwrap();
    let [copy, full, delta, check] = best;
    figure("bare copy of /usr to the disk", "", &format!("{:.2} s", copy.0));
    for (what, (took, peak), limit) in [("full", full, "<= 64 MiB"), ("delta", delta, "<= 112 MiB")] {
        figure(
            &format!("applying, {what}, against a bare copy"),
            "<= 1.5 times",
            &format!("{:.2} times ({took:.2} s)", took / copy.0),
        );
        figure(&format!("applying, {what}, memory at its peak"), limit, &format!("{peak:.0} MiB"));
    }
    figure(
        "reading back with digest and verity tree, which gives veritysetup's bytes",
        "",
        &format!("{:.2} s, {:.0} MiB", check.0, check.1),
    );
}

/// Runs a step in a separate process. Returns seconds and peak memory in MiB.
fn step(arguments: &[String]) -> (f64, f64) {
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Prints the elapsed time and this process's peak memory.
fn print_result(started: Instant) {
    let took = started.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{took} {}", kibibytes / 1024.0);
}

fn apply_once(index: &str, blob: &str, role: &str, target: &str, old: &str) {
    let mut index = Index::parse(&fs::read(index).unwrap()).unwrap();
    index.images.retain(|image| image.role == role);
    let started = Instant::now();
    let old = (!old.is_empty()).then(|| File::open(old).unwrap());
    let target = Partition::open(Path::new(target)).unwrap();
    let part = ImageTarget { role, target: &target, old: old.as_ref().map(|old| old as &dyn ReadAt) };
    let path = PathBuf::from(blob);
    payload::apply(Apply {
        index: &index,
        blob: &mut |range: Range<u64>| -> io::Result<Box<dyn Read>> {
            let mut file = File::open(&path)?;
            file.seek(SeekFrom::Start(range.start))?;
            Ok(Box::new(file.take(range.end - range.start)))
        },
        full: None,
        parts: &[part],
        unpacker: &mut payload::LocalUnpacker::default(),
        resume: false,
        progress: &mut |_| {},
        cancelled: &|| false,
    })
    .unwrap();
    print_result(started);
}

/// Takes salt and UUID from the tree that `veritysetup` made.
fn check_once(index: &str, target: &str, folder: &str) {
    let index = Index::parse(&fs::read(index).unwrap()).unwrap();
    let image = index.image("usr").unwrap();
    let verity = Path::new(folder).join("usr.verity");
    let mut superblock = [0; 512];
    File::open(&verity).unwrap().read_exact(&mut superblock).unwrap();
    let salt = usize::from(u16::from_le_bytes([superblock[80], superblock[81]]));
    let parameters =
        Parameters { salt: superblock[88..88 + salt].to_vec(), uuid: superblock[16..32].try_into().unwrap() };
    let root: Digest =
        fs::read_to_string(Path::new(folder).join("root-hash")).unwrap().trim().parse().unwrap();
    let expected = Expected { role: "usr", size: image.size, digest: root };
    let started = Instant::now();
    let from = DirectReader::open(Path::new(target)).unwrap();
    let tree = read_back_tree(&expected, &parameters, from, &mut |_| true).unwrap();
    let written = Path::new(target).with_extension("verity");
    tree.write(&GrowingFile::open(&written).unwrap()).unwrap();
    tree.compare(DirectReader::open(&written).unwrap()).unwrap();
    print_result(started);
    assert!(fs::read(&written).unwrap() == fs::read(&verity).unwrap(), "the tree is not veritysetup's");
    fs::remove_file(written).unwrap();
}

/// As `dd bs=16M conv=fsync`.
fn copy_once(from: &str, to: &str) {
    let started = Instant::now();
    let (mut from, mut to) = (File::open(from).unwrap(), File::options().write(true).open(to).unwrap());
    let mut buffer = vec![0; 16 << 20];
    loop {
        let count = from.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        io::Write::write_all(&mut to, &buffer[..count]).unwrap();
    }
    to.sync_all().unwrap();
    print_result(started);
}
