//! `keelson ca`: the certificate authority of a cluster with TLS.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use authority::{Authority, Subject};
use machines::certificates;
use machines::site::Rotate;
use serde_json::json;

use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  keelson ca issue me --out certificates\n  keelson ca rotate\n  keelson ca rotate --authority"
)]
pub struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print the certificate of the cluster's certificate authority, and its path
    Show,
    /// Issue a client certificate: writes NAME.pem, NAME-key.pem and ca.pem
    Issue {
        /// Common name of the certificate, and name of its files
        name: String,
        /// Output folder
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
    },
    /// Replace the certificates of all machines without a restart
    Rotate {
        /// Also replace the certificate authority
        #[arg(long)]
        authority: bool,
    },
}

pub fn run(context: &Context, flags: &Flags) -> anyhow::Result<ExitCode> {
    match &flags.verb {
        Verb::Show => show(context),
        Verb::Issue { name, out } => issue(context, name, out),
        Verb::Rotate { authority } => rotate(context, *authority),
    }
}

fn opened(context: &Context) -> anyhow::Result<Authority> {
    let cluster = context.load()?;
    if !cluster.tls {
        bail!(
            "cluster {} was created without TLS (keelson up --tls creates a cluster with TLS)",
            context.cluster
        );
    }
    Ok(certificates::open(&context.layout()?, &cluster)?)
}

fn show(context: &Context) -> anyhow::Result<ExitCode> {
    let trusted = opened(context)?.trusted()?;
    let path = context.layout()?.authority().join("ca.pem");
    if context.json {
        output::print_json(&json!({ "path": path, "pem": trusted }))?;
    } else {
        println!("{}\n{}", path.display(), trusted.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn issue(context: &Context, name: &str, out: &std::path::Path) -> anyhow::Result<ExitCode> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
        bail!("{name:?} is not a valid name: use letters, digits, and -_.@ only, without a leading dot");
    }
    let authority = opened(context)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let subject = Subject { name: name.to_owned(), host_names: Vec::new(), addresses: Vec::new() };
    authority.issue(&subject)?.write(out, name)?;
    let ca = out.join("ca.pem");
    std::fs::write(&ca, authority.trusted()?).with_context(|| format!("cannot write {}", ca.display()))?;
    let file = |suffix: &str| out.join(format!("{name}{suffix}.pem"));
    if context.json {
        let (certificate, key) = (file(""), file("-key"));
        output::print_json(&json!({ "certificate": certificate, "key": key, "ca": ca }))?;
    } else {
        println!(
            "etcdctl --ca-file {} --cert-file {} --key-file {} --endpoints https://ADDRESS:2379 ls",
            ca.display(),
            file("").display(),
            file("-key").display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn rotate(context: &Context, authority: bool) -> anyhow::Result<ExitCode> {
    let site = context.open("ca rotate")?;
    let step = context.progress.step("rotate");
    site.rotate(if authority { Rotate::Authority } else { Rotate::Certificates })?;
    step.done(&format!("{} machines have new certificates", site.cluster().nodes.len()));
    Ok(ExitCode::SUCCESS)
}
