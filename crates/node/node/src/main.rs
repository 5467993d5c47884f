//! The small programs of the node, in one file of many names.
//!
//! The name by which it is called chooses the face, as busybox does: `/usr/lib/keelson/node` is linked under
//! each of [`FACES`]. `node NAME ARGS...` does the same without a link.

mod address;
mod environment;
mod etc;
mod face;
mod health;
mod hosts;
mod merged;
mod motd;
mod os_release;
mod ready;
mod reset;
mod root;
mod systemd;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use face::{FAILED, Face, WRONG_USE};

/// Name, where the image links it, and what answers to it.
const FACES: [Face; 6] = [
    Face { name: "coreos-setup-environment", link: "usr/lib/keelson", run: environment::run },
    Face { name: "keelson-etc", link: "usr/bin", run: etc::run },
    Face { name: "keelson-health-check", link: "usr/lib/keelson", run: health::run },
    Face { name: "keelson-motd", link: "usr/lib/keelson", run: motd::run },
    Face { name: "keelson-ready", link: "usr/lib/keelson", run: ready::run },
    Face { name: "keelson-reset", link: "usr/bin", run: reset::run },
];

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if called(&words) == Some("node".into()) {
        words.remove(0);
    }
    let name = called(&words).unwrap_or_default();
    let Some(face) = FACES.iter().find(|face| face.name == name) else {
        return list(&name);
    };
    match (face.run)(words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The first word without its folder.
fn called(words: &[OsString]) -> Option<String> {
    Some(Path::new(words.first()?).file_name()?.to_string_lossy().into_owned())
}

/// `node` alone, or `node --links`, says what an image has to link; another name is wrong use.
fn list(name: &str) -> ExitCode {
    if !name.is_empty() && name != "--links" {
        let names: Vec<_> = FACES.iter().map(|face| face.name).collect();
        eprintln!("error: no program is called {name}: there are {}", names.join(", "));
        return ExitCode::from(WRONG_USE);
    }
    for face in &FACES {
        println!("{}/{}", face.link, face.name);
    }
    ExitCode::SUCCESS
}
