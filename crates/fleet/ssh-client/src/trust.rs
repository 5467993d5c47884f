//! Trust in host keys, by the known hosts file or the user.

use crate::error::Error;
use crate::host_key::HostKey;
use crate::known_hosts::{KnownHosts, Verdict};
use crate::prompt;
use crate::settings::{Address, Settings};

pub struct Trust<'a> {
    address: &'a Address,
    /// `None` trusts any key.
    known: Option<KnownHosts>,
}

impl<'a> Trust<'a> {
    pub fn read(settings: &Settings, address: &'a Address) -> Result<Trust<'a>, Error> {
        let known = settings.known_hosts.as_deref().map(KnownHosts::read).transpose()?;
        Ok(Trust { address, known })
    }

    /// The trusted keys of the host; `None` for any.
    pub fn keys(&self) -> Option<Vec<&HostKey>> {
        self.known.as_ref().map(|known| known.keys(self.address))
    }

    /// Prompts for an unknown key and stores it if the user accepts. Returns whether the key is newly trusted.
    pub fn confirm(&mut self, key: &HostKey) -> Result<bool, Error> {
        let Some(known) = &mut self.known else { return Ok(false) };
        match known.verdict(self.address, key) {
            Verdict::Known => Ok(false),
            Verdict::Unknown => {
                prompt_for_confirmation(self.address, key)?;
                known.add(self.address, key)?;
                let (address, kind) = (self.address, key.kind());
                eprintln!("Warning: Permanently added '{address}' ({kind}) to the list of known hosts.");
                Ok(true)
            }
            Verdict::Changed { line } => {
                eprintln!("{}", changed_key_warning(self.address, key, line));
                Err(Error::HostKeyChanged)
            }
            Verdict::Revoked { line } => Err(Error::HostKeyRevoked {
                path: known.path().to_owned(),
                line,
                address: self.address.to_string(),
                key: format!("{} key {}", key.kind(), key.sha256()),
            }),
        }
    }
}

fn prompt_for_confirmation(address: &Address, key: &HostKey) -> Result<(), Error> {
    let kind = key.kind();
    let question = format!(
        "The authenticity of host '{address}' can't be established.\n\
         {kind} key fingerprint is {}(MD5).\n{kind} key fingerprint is {}.\n\
         Are you sure you want to continue connecting (yes/no)? ",
        key.md5(),
        key.sha256()
    );
    match prompt::confirm(&question).map_err(Error::Terminal)? {
        true => Ok(()),
        false => Err(Error::HostKeyRefused),
    }
}

fn changed_key_warning(address: &Address, key: &HostKey, line: usize) -> String {
    let bar = "@".repeat(59);
    format!(
        "{bar}\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n{bar}\n\
         The key of {address} is not the one that is known: somebody else may answer in its place.\n\
         It showed the {} key {}.\n\
         If the machine was set up anew, remove line {line} from the file of known hosts.",
        key.kind(),
        key.sha256()
    )
}
