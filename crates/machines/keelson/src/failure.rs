//! Error output: the error with its causes on one line, a hint if there is one, and the exit code.

use std::path::Path;
use std::process::ExitCode;

use channel_server::SigningError;
use clap::CommandFactory as _;
use image::build::BuildError;
use image::release::ReleaseError;
use machines::backend::BackendError;
use machines::cluster::ClusterSpecError;
use machines::image::ImageError;
use machines::site::{NotReady, SiteError};
use machines::store::StoreError;
use pkcs11_signer::Pkcs11Error;
use release_folder::KeysError;

use crate::channel_image::ChannelImageError;
use crate::cli::Cli;
use crate::listen_error::ListenError;
use crate::verbs::serve_updates::OfflineKeyOnServer;

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;

/// An invalid combination of valid arguments.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    let usage_error = error.chain().any(|cause| {
        cause.is::<UsageError>()
            || matches!(cause.downcast_ref(), Some(StoreError::Name(_)))
            || cause.downcast_ref().is_some_and(|error| !matches!(error, ClusterSpecError::Backend { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(BuildError::Release(ReleaseError::Version(_) | ReleaseError::Channel(_)))
            )
    });
    ExitCode::from(if usage_error { EXIT_USAGE } else { EXIT_FAILURE })
}

/// `command`: the command line prefix for the same cluster.
pub fn print(error: &anyhow::Error, command: &str) {
    eprintln!("{}", with_command_prefix(&chain(error), command));
    if let Some(hint) = hint(error) {
        eprintln!("hint: {}", with_command_prefix(&hint, command));
    }
}

/// Replaces `keelson VERB` in messages by the command that the user can copy.
fn with_command_prefix(text: &str, command: &str) -> String {
    const NAME: &str = "keelson ";
    let cli = Cli::command();
    let is_command = |before: &str, after: &str| {
        let verb: String =
            after.chars().take_while(|char| char.is_ascii_lowercase() || *char == '-').collect();
        let at_word_start = before.is_empty() || before.ends_with([' ', '`', '(', '\n']);
        at_word_start && !before.ends_with("cargo ") && cli.find_subcommand(&verb).is_some()
    };
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(NAME) {
        output += before;
        output += if is_command(&output, after) { command } else { NAME.trim_end() };
        output.push(' ');
        rest = after;
    }
    output + rest
}

/// `error: what failed: why: root cause`.
fn chain(error: &anyhow::Error) -> String {
    format!("error: {}", service::error::chain(error.as_ref()))
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<Box<NotReady>>() {
            return Some(not_ready(error));
        }
        if let Some(error) = cause.downcast_ref::<NotReady>() {
            return Some(not_ready(error));
        }
        if let Some(error) = cause.downcast_ref::<SiteError>()
            && let Some(hint) = site(error)
        {
            return Some(hint);
        }
        if let Some(error) = cause.downcast_ref::<BackendError>()
            && let Some(hint) = backend(error)
        {
            return Some(hint);
        }
        if let Some(hint) = cause.downcast_ref().and_then(ChannelImageError::hint) {
            return Some(hint);
        }
        if cause.downcast_ref::<ImageError>().is_some() {
            return Some(
                "set --image to a disk that keelson image build wrote, or to its folder; without --image, \
                 keelson up builds an image from the checkout"
                    .to_owned(),
            );
        }
        if let Some(KeysError::Exists(_)) = cause.downcast_ref() {
            return Some(
                "keelson keys pin adds the existing root to this checkout, keelson keys rotate replaces a key, --out \
                 creates new keys in another folder"
                    .to_owned(),
            );
        }
        if let Some(hint) = cause.downcast_ref().and_then(Pkcs11Error::hint) {
            return Some(hint);
        }
        if let Some(SigningError::Offline { online, .. }) = cause.downcast_ref() {
            return Some(format!(
                "move the key that signs channels to a folder of its own: mkdir -p {0}/server && mv {1} {0}/server/, then \
                 keelson serve-updates --key {0}/server/{2}; on another host, copy only that file to it",
                online.parent().unwrap_or(Path::new(".")).display(),
                online.display(),
                online.file_name().unwrap_or_default().display(),
            ));
        }
        if let Some(hint) = cause.downcast_ref().and_then(ListenError::hint) {
            return Some(hint);
        }
        if cause.is::<crate::image::NoData>() {
            return Some("keelson image cves --refresh downloads it; --data uses another file".to_owned());
        }
        if cause.is::<OfflineKeyOnServer>() {
            return Some(
                "run it on another host or as another user, and copy only server/channel.key there, or move the root and \
                 release keys to removable media"
                    .to_owned(),
            );
        }
        match cause.downcast_ref::<StoreError>() {
            Some(StoreError::LongPath { .. }) => Some("--state-dir /tmp/keelson is short enough".to_owned()),
            _ => None,
        }
    })
}

fn not_ready(error: &NotReady) -> String {
    format!("keelson console {} --log shows the whole console log ({})", error.node, error.console.display())
}

fn site(error: &SiteError) -> Option<String> {
    match error {
        SiteError::NotReady(error) => Some(not_ready(error)),
        SiteError::Backend { source, .. } | SiteError::Open(source) => backend(source),
        _ => None,
    }
}

fn backend(error: &BackendError) -> Option<String> {
    match error {
        BackendError::Port { port, .. } => Some(format!(
            "`ss -ltnp 'sport = :{port}'` shows the process; $forwarded_ports in config.rb selects another port"
        )),
        BackendError::Full { .. } => {
            Some("free some space, or set --state-dir to a folder on another disk".to_owned())
        }
        BackendError::Usr(_) => Some("keelson up starts stopped machines with the newest /usr".to_owned()),
        BackendError::Tools(_) => Some("keelson up rebuilds the tools tree".to_owned()),
        BackendError::Root => Some("use sudo keelson ..., or --on qemu, which does not need root".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    #[test]
    fn commands_are_printed_as_they_can_be_copied() {
        for (text, expected) in [
            ("keelson up makes it", "cargo keelson --cluster walk up makes it"),
            (
                "(keelson down, then keelson up)",
                "(cargo keelson --cluster walk down, then cargo keelson --cluster walk up)",
            ),
            ("`keelson serve-updates`", "`cargo keelson --cluster walk serve-updates`"),
            ("`cargo keelson up` goes on", "`cargo keelson up` goes on"),
            ("/run/keelson up", "/run/keelson up"),
            ("keelson nothing", "keelson nothing"),
        ] {
            assert_eq!(with_command_prefix(text, "cargo keelson --cluster walk"), expected);
        }
    }

    #[test]
    fn an_error_chain_is_one_line_and_has_a_hint() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let source = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        let source = BackendError::Port { port, node: "core-01".into(), source };
        let error = anyhow::Error::from(SiteError::Backend { node: "core-01".into(), source }).context("up");
        let text = chain(&error);
        assert!(
            text.starts_with(&format!("error: up: core-01: cannot forward port {port} of 127.0.0.1")),
            "{text}"
        );
        assert_eq!(text.matches("in use").count(), 2, "ours and the system's: {text}");
        assert!(hint(&error).unwrap().contains("ss -ltnp"));
    }
}
