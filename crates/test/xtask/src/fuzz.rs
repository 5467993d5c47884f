//! `cargo xtask fuzz`: coverage-guided fuzzing of the targets in `crates/test/fuzz`, with libFuzzer.
//!
//! The compiler flags are stable ones, so that no other toolchain is needed; a C++ compiler is. It writes below
//! cargo's target folder, and into the checkout only with `--keep`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cargo_build;
use crate::command::show;

/// The program that libFuzzer drives.
const PROGRAM: &str = "guided";
/// Instruments a program with coverage and comparison tracing for libFuzzer.
const COVERAGE: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Timeout per input in seconds.
const HANG: &str = "-timeout=30";
const MEMORY: &str = "-rss_limit_mb=2048";

/// Fuzzes one target
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// A file of crates/test/fuzz/src/targets
    target: String,
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Adds what reaches new code to the kept inputs in crates/test/fuzz/corpus
    #[arg(long)]
    keep: bool,
}

pub fn run(root: &Path, flags: &Flags) -> Result<bool> {
    let Flags { target, minutes, keep } = flags;
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let version = Command::new(&compiler).arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        bail!("libFuzzer is C++, and there is no compiler {compiler:?} (apt-get install g++)");
    }
    if !root.join("crates/test/fuzz/src/targets").join(format!("{target}.rs")).exists() {
        bail!("there is no target {target} in crates/test/fuzz/src/targets");
    }
    let program = build(root)?;
    // Next to the profiles of cargo's target folder.
    let folder = program.ancestors().nth(3).unwrap_or(root).join("fuzzing").join(target);
    let found = folder.join("inputs");
    let kept = root.join("crates/test/fuzz/corpus").join(target);
    for folder in [&found, &kept] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let command = |arguments: &[String]| {
        let mut command = Command::new(&program);
        command.env("KEELSON_FUZZ_TARGET", target).env("KEELSON_FUZZ_SEEDS", &found).args(arguments);
        command
    };
    let places = [found.display().to_string(), kept.display().to_string()];
    let mut arguments = places.to_vec();
    arguments.extend([HANG, MEMORY, "-print_final_stats=1"].map(str::to_owned));
    arguments.push(format!("-max_total_time={}", minutes * 60));
    arguments.push(format!("-artifact_prefix={}/", folder.display()));
    let ended = show(&mut command(&arguments))?;
    if !ended.success {
        eprintln!("hint: fix it, and keep the input: cp FILE {}/NAME", kept.display());
        return Ok(false);
    }
    if *keep {
        let [found, kept] = places;
        let merged = show(&mut command(&["-merge=1".to_owned(), HANG.to_owned(), kept, found]))?;
        return Ok(merged.success);
    }
    Ok(true)
}

/// Passes an explicit target triple, so that build scripts and macros are built without coverage.
fn build(root: &Path) -> Result<PathBuf> {
    let host = host()?;
    let arguments = ["--profile", "fuzz", "--package", "fuzz", "--features", "libfuzzer", "--bin", PROGRAM];
    let arguments = [&arguments[..], &["--target", &host]].concat();
    let built = cargo_build::build_with(root, &arguments, &[("RUSTFLAGS", &COVERAGE.join(" "))])?;
    Ok(cargo_build::named(&built, PROGRAM)?.to_path_buf())
}

fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc -vV")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not name its host")
}
