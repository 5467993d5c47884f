//! The node's small programs in one multi-call binary.
//!
//! Like busybox, the name in `argv[0]` selects the applet: `/usr/lib/keelson/node` is linked under each name of
//! [`APPLETS`]. `node NAME ARGS...` does the same without a link.

mod address;
mod applet;
mod cluster_addresses;
mod command_line_keys;
mod config_media;
mod environment;
mod etc;
mod file_merge;
mod health;
mod hosts;
mod installed_files;
mod motd;
mod os_release;
mod ready;
mod reset;
mod root;
mod systemd;
mod unattended_install;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use applet::{Applet, EXIT_FAILURE, EXIT_USAGE};

/// The applets and the folders of their links.
const APPLETS: [Applet; 11] = [
    Applet { name: "coreos-setup-environment", link: "usr/lib/keelson", run: environment::run },
    Applet { name: "keelson-cluster-addresses", link: "usr/lib/keelson", run: cluster_addresses::run },
    Applet { name: "keelson-command-line-keys", link: "usr/lib/keelson", run: command_line_keys::run },
    Applet { name: "keelson-config-media", link: "usr/lib/keelson", run: config_media::run },
    Applet { name: "keelson-etc", link: "usr/bin", run: etc::run },
    Applet { name: "keelson-health-check", link: "usr/lib/keelson", run: health::run },
    Applet { name: "keelson-installed-files", link: "usr/lib/keelson", run: installed_files::run },
    Applet { name: "keelson-motd", link: "usr/lib/keelson", run: motd::run },
    Applet { name: "keelson-ready", link: "usr/lib/keelson", run: ready::run },
    Applet { name: "keelson-reset", link: "usr/bin", run: reset::run },
    Applet { name: "keelson-unattended-install", link: "usr/lib/keelson", run: unattended_install::run },
];

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    if program_name(&args) == Some("node".into()) {
        args.remove(0);
    }
    let name = program_name(&args).unwrap_or_default();
    let Some(applet) = APPLETS.iter().find(|applet| applet.name == name) else {
        return list_applets(&name);
    };
    match (applet.run)(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

/// The file name of the first argument.
fn program_name(args: &[OsString]) -> Option<String> {
    Some(Path::new(args.first()?).file_name()?.to_string_lossy().into_owned())
}

/// `node` alone and `node --links` list the links that an image needs; other names are usage errors.
fn list_applets(name: &str) -> ExitCode {
    if !name.is_empty() && name != "--links" {
        let names: Vec<_> = APPLETS.iter().map(|applet| applet.name).collect();
        eprintln!("error: unknown program {name}; the programs are {}", names.join(", "));
        return ExitCode::from(EXIT_USAGE);
    }
    for applet in &APPLETS {
        println!("{}/{}", applet.link, applet.name);
    }
    ExitCode::SUCCESS
}
