//! `keelson image customize`: configures the live system of an ISO image or an initrd.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use image::customize::{Contents, Customization, customize, customized, reset};
use image::signature::der;
use machines::store::read_limited;
use serde_json::json;

use crate::context::{Context, interrupt};
use crate::output;
use crate::verbs::up::user_data::read_valid;

/// Extensions of systemd-networkd's files.
const NETWORK: [&str; 3] = ["network", "netdev", "link"];
/// Bytes of a network unit or a certificate.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "An ISO image has room for 1 MiB of files and 1,007 bytes of arguments. The output replaces what FILE was \
    customized with before. User-data is in the file in the clear: whoever can read the file reads its secrets.\n\n\
    Examples:\n  keelson image customize keelson-9999.1.0-alpha.iso --user-data user-data -o mine.iso\n  \
    keelson image customize keelson-9999.1.0-alpha.iso --install smallest --install-config user-data -o install.iso\n  \
    keelson image customized mine.iso\n  keelson image customize --reset mine.iso -o original.iso"
)]
pub struct Flags {
    /// ISO image, or initrd of the format pxe
    file: PathBuf,
    /// User-data that the live system applies
    #[arg(long, value_name = "FILE")]
    user_data: Option<PathBuf>,
    /// Unit file of systemd-networkd for the live system; may be repeated
    #[arg(long, value_name = "FILE")]
    network: Vec<PathBuf>,
    /// Install to this disk, or to the smallest unused one of more than 10 GB, and restart: /dev/sda, smallest. A machine
    /// with an installed system is not installed again
    #[arg(long, value_name = "DEVICE|smallest")]
    install: Option<String>,
    /// User-data that the installed system applies
    #[arg(long, value_name = "FILE", requires = "install")]
    install_config: Option<PathBuf>,
    /// PEM certificates that the live system trusts; may be repeated
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Kernel argument, for an ISO image; may be repeated
    #[arg(long, value_name = "WORD")]
    karg: Vec<String>,
    /// Folder whose files replace the OEM partition of the live system
    #[arg(long, value_name = "DIR")]
    oem: Option<PathBuf>,
    /// Restore the bytes of the file as it was built
    #[arg(long, conflicts_with_all = ["user_data", "network", "install", "ca", "karg", "oem"])]
    reset: bool,
    /// The new file; it may be FILE
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    let cancel = interrupt()?;
    if flags.reset {
        reset(&flags.file, &flags.output, &cancel)?;
        return print(context, &flags.output, &Customization { arguments: Vec::new(), files: Vec::new() });
    }
    let contents = contents(context, flags)?;
    let written = customize(&flags.file, &contents, &flags.output, &cancel)?;
    if written.is_empty() {
        context.progress.note("nothing to add: the output has the original bytes");
    }
    if contents.user_data.is_some() || contents.install_user_data.is_some() {
        context.progress.note("the user-data, and all secrets in it, are in the file in the clear");
    }
    print(context, &flags.output, &written)
}

pub fn show(context: &Context, file: &Path) -> anyhow::Result<ExitCode> {
    print(context, file, &customized(file)?)
}

fn contents(context: &Context, flags: &Flags) -> anyhow::Result<Contents> {
    let user_data =
        |path: &Option<PathBuf>| path.as_deref().map(|path| read_valid(context, path, "")).transpose();
    Ok(Contents {
        user_data: user_data(&flags.user_data)?,
        network: flags.network.iter().map(|path| network(path)).collect::<anyhow::Result<_>>()?,
        install: flags.install.clone(),
        install_user_data: user_data(&flags.install_config)?,
        certificates: flags.ca.iter().map(|path| certificate(path)).collect::<anyhow::Result<_>>()?,
        arguments: flags.karg.clone(),
        oem: flags.oem.clone(),
    })
}

/// Name and content of a network unit.
fn network(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    if !NETWORK.contains(&extension) {
        bail!("--network: {} is not named *.network, *.netdev or *.link", path.display());
    }
    Ok((file_name(path), read(path)?))
}

/// Name and content of a file with certificates. The system trusts files with its extension only.
fn certificate(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let content = read(path)?;
    if der(&String::from_utf8_lossy(&content)).is_empty() {
        bail!("--ca: {} contains no PEM certificate", path.display());
    }
    Ok((file_name(&path.with_extension("pem")), content))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let content =
        read_limited(path, MAX_FILE + 1).with_context(|| format!("cannot read {}", path.display()))?;
    if content.len() as u64 > MAX_FILE {
        bail!("{} has more than {MAX_FILE} bytes", path.display());
    }
    Ok(content)
}

fn print(context: &Context, file: &Path, found: &Customization) -> anyhow::Result<ExitCode> {
    if context.json {
        let mut document = json!(found);
        document["file"] = json!(file);
        document["customized"] = json!(!found.is_empty());
        output::print_json(&document)?;
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        output::print(format!("{} is not customized\n", file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::new();
    if !found.arguments.is_empty() {
        text += &format!("arguments  {}\n", found.arguments.join(" "));
    }
    for file in &found.files {
        text += &format!("file       {}  {} bytes\n", file.path, file.bytes);
    }
    output::print(text)?;
    Ok(ExitCode::SUCCESS)
}
