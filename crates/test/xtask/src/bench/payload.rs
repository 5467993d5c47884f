//! Update payloads: size, time to apply, and memory.
//!
//! Without arguments it builds two images that differ in one service. With two folders it compares their images:
//! each has `usr.erofs` and `uki.efi`, the second one `usr.verity` and `root-hash` too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::figure::{bench, rows};
use super::image::{Bench, WORK_FOLDER};

/// The largest of our services.
const CHANGED_SERVICE: &str = "etcd";
/// Maximal size of the delta, relative to the full payload.
const TARGET: &str = "<= 3 %, one service changed";

pub fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let folder = Path::new(WORK_FOLDER).join(format!("keelson-bench-payload-{}", std::process::id()));
    let outcome = measure(root, &folder, arguments);
    // Also after a failure: a benchmark leaves no gigabytes of files.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    print!("{}", rows(&outcome?));
    Ok(true)
}

fn measure(root: &Path, folder: &Path, arguments: &[String]) -> Result<Vec<super::figure::Figure>> {
    let (old, new) = match arguments {
        [] => build_images(root, folder)?,
        [old, new] => (old.into(), new.into()),
        _ => bail!("`payload` takes no words, or the folders of an old and a new image"),
    };
    let out = folder.join("payload");
    let paths = [&old, &new, &out].map(|path| path.to_string_lossy().into_owned());
    let mut figures = bench(root, "payload", "payload", &paths.each_ref().map(String::as_str))?;
    let delta = figures.iter_mut().find(|figure| figure.what.starts_with("delta, of"));
    // The difference between two given images is unknown, so that no target applies.
    if let Some(delta) = delta.filter(|_| arguments.is_empty()) {
        delta.target = TARGET.into();
    }
    for figure in &mut figures {
        figure.command =
            ["cargo xtask bench payload", if arguments.is_empty() { "" } else { " OLD NEW" }].concat();
    }
    Ok(figures)
}

/// Builds two images of the checkout; in the second one all code of a service differs.
fn build_images(root: &Path, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let bench = Bench::prepare(root, folder)?;
    bench.build("raw")?;
    let old = move_images(&bench, "old")?;
    let program = bench.programs.join("node").join(CHANGED_SERVICE);
    let content = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    fs::write(&program, changed(content)).with_context(|| format!("cannot change {}", program.display()))?;
    bench.append(&program)?;
    bench.build("raw")?;
    Ok((old, move_images(&bench, "new")?))
}

/// Changes every byte in the middle half of a program, which is code, by a bijection. Recompilation never changes
/// as much: no change of one service makes a larger delta.
fn changed(mut program: Vec<u8>) -> Vec<u8> {
    let quarter = program.len() / 4;
    for byte in &mut program[quarter..quarter * 3] {
        *byte ^= 0x5a;
    }
    program
}

/// Moves `/usr` and boot image of the last build into a folder of that name.
fn move_images(bench: &Bench, name: &str) -> Result<PathBuf> {
    let folder = bench.folder.join(name);
    fs::create_dir_all(&folder).context("cannot make a folder")?;
    for (made, files) in [("usr", &["usr.erofs", "usr.verity", "root-hash"][..]), ("disk", &["uki.efi"])] {
        let all = bench.folder.join("work").join(made);
        let entries: Vec<_> =
            fs::read_dir(&all).with_context(|| format!("no {}", all.display()))?.collect::<Result<_, _>>()?;
        let [only] = &entries[..] else { bail!("{} builds in {}", entries.len(), all.display()) };
        for file in files {
            fs::rename(only.path().join(file), folder.join(file))
                .with_context(|| format!("cannot take {file}"))?;
        }
        fs::remove_dir_all(&all).with_context(|| format!("cannot remove {}", all.display()))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_middle_half_changes_and_the_rest_stays() {
        assert_eq!(changed(vec![0; 8]), [0, 0, 0x5a, 0x5a, 0x5a, 0x5a, 0, 0]);
    }

    #[test]
    fn the_service_is_there() {
        let programs = fs::read_to_string(workspace::root().join("os/programs.toml")).unwrap();
        assert!(programs.contains(&format!("binary = \"{CHANGED_SERVICE}\"")));
    }
}
